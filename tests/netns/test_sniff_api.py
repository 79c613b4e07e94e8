"""``netkat.sniff`` for programs: for, async for, counts, ends."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from netkat.bpf.filters import libpcap
from netkat.bpf.filters.libpcap import LibpcapMissing
from netkat.capture.sniffer import sniff
from netkat.errors import BadArgument, InterfaceDown, InterfaceNotFound
from tests.helpers.netns import Pair
from tests.helpers.waiting import wait_until


def ping(pair: Pair, count: int = 1) -> None:
    pair.host.run(["ping", "-q", "-c", str(count), "-i", "0.01", pair.peer.ipv4])


def test_packets_by_for(pair: Pair) -> None:
    watching = sniff("icmp", interface="eth0", count=4, netns=pair.host.name)
    ping(pair, 3)  # armed already: what comes before the loop is there
    found = list(watching)
    assert [packet.direction for packet in found] == ["out", "in"] * 2
    first = found[0]
    assert first.interface == "eth0"
    assert abs(first.time - time.time()) < 10
    assert first.length == len(first.raw) == 98
    assert first.summary().startswith(f"IP {pair.host.ipv4} > {pair.peer.ipv4}: ICMP echo request")
    assert [name for name, _ in first.layers] == ["ethernet", "ipv4", "icmp"]
    assert watching.counts()["eth0"].received >= 4
    with pytest.raises(StopIteration):
        next(watching)


def test_packets_by_async_for(pair: Pair) -> None:
    async def watch() -> list[str]:
        async with sniff("icmp", interface="eth0", count=2, netns=pair.host.name) as watching:
            task = asyncio.get_running_loop().run_in_executor(None, ping, pair)
            found = [packet.direction async for packet in watching]
            await task
        return found

    assert asyncio.run(watch()) == ["out", "in"]


def test_cancelling_loses_no_packet(pair: Pair) -> None:
    async def watch() -> int:
        async with sniff("icmp", interface="eth0", netns=pair.host.name) as watching:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(watching.__anext__(), 0.05)
            await asyncio.get_running_loop().run_in_executor(None, ping, pair)
            found = 0
            for _ in range(2):
                await asyncio.wait_for(watching.__anext__(), 2)
                found += 1
            return found

    assert asyncio.run(watch()) == 2


def test_it_ends_by_time_and_by_close(pair: Pair) -> None:
    began = time.monotonic()
    assert list(sniff("icmp", interface="eth0", timeout=0.2, netns=pair.host.name)) == []
    assert 0.2 <= time.monotonic() - began < 5
    with sniff("icmp", interface="eth0", netns=pair.host.name) as watching:
        timer = threading.Timer(0.2, watching.close)
        timer.start()
        assert list(watching) == []
        timer.join()
        watching.close()


def test_what_came_before_the_time_was_up_is_given(pair: Pair) -> None:
    with sniff("icmp", interface=["eth0", "lo"], timeout=0.1, netns=pair.host.name) as watching:
        ping(pair)
        time.sleep(0.1)
        assert len(list(watching)) == 2


def test_without_libpcap(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "NAMES", ("libnosuchpcap.so.1",))
    libpcap.library.cache_clear()
    try:
        for interface in ("eth0", "any"):
            with sniff(interface=interface, count=2, netns=pair.host.name) as watching:
                ping(pair)
                assert len(list(watching)) == 2
        with pytest.raises(LibpcapMissing, match="require libpcap"):
            sniff("icmp", interface="eth0", netns=pair.host.name)
    finally:
        libpcap.library.cache_clear()


def test_several_interfaces_in_order(pair: Pair) -> None:
    with sniff("icmp", interface=["eth0", "lo"], netns=pair.host.name, count=4) as watching:
        ping(pair)
        pair.host.run(["ping", "-q", "-c1", "127.0.0.1"])
        found = list(watching)
    assert [packet.interface for packet in found] == ["eth0", "eth0", "lo", "lo"]
    assert [packet.time_ns for packet in found] == sorted(packet.time_ns for packet in found)


def test_faults(pair: Pair) -> None:
    name = pair.host.name
    with pytest.raises(BadArgument, match="'prot'"):
        sniff("tcp prot 80", interface="eth0", netns=name)
    with pytest.raises(InterfaceNotFound):
        sniff(interface="nosuch0", netns=name)
    with pytest.raises(BadArgument):
        sniff(interface="eth0", direction="up", netns=name)
    with pytest.raises(BadArgument):
        sniff(interface="eth0", count=-1, netns=name)
    with sniff("icmp", interface="eth0", netns=name) as watching:
        ping(pair)
        pair.host.ip("link del eth0")
        assert [next(watching).direction for _ in range(2)] == ["out", "in"]
        with pytest.raises(InterfaceDown, match="eth0"):
            next(watching)


def test_an_unclosed_one_says_so(pair: Pair) -> None:
    watching = sniff("icmp", interface="eth0", netns=pair.host.name)
    with pytest.warns(ResourceWarning, match="unclosed") as warned:  # noqa: PT031
        del watching
        wait_until(lambda: len(warned) > 0)
