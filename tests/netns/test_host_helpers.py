"""The helpers of these tests are tested too: a firewall that lets through proves nothing."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import time

import pytest

from tests.helpers.capture import ICMPV6, capture
from tests.helpers.forwarder import impaired_pair
from tests.helpers.netns import Pair, existing, netns_pair
from tests.helpers.peers import numbered, pattern, peer
from tests.helpers.rules import MATRIX, RuleSet


def kernel_connect(pair: Pair, address: str, port: int, timeout: float = 0.3) -> bool:
    """Whether a plain socket of the host's kernel gets through."""

    def attempt() -> bool:
        try:
            socket.create_connection((address, port), timeout=timeout).close()
        except OSError:
            return False
        return True

    return pair.host.call(attempt)


@pytest.mark.parametrize("rules", MATRIX, ids=str)
def test_rule_sets_stop_the_kernel(pair: Pair, rules: RuleSet) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        rules.load(pair.host)
        for version in (4, 6):
            through = kernel_connect(pair, pair.peer.address(version), server.port)
            assert through is (rules.rules == "none"), (str(rules), version)


def test_duplex_by_hash(pair: Pair) -> None:
    mine, theirs = pattern(1_000_000, "mine"), pattern(2_000_000, "theirs")
    with peer(pair.peer, "tcp-duplex", size=len(theirs), seed="theirs") as server:

        def talk() -> bytes:
            with socket.create_connection((pair.peer.ipv6, server.port), timeout=5) as connection:
                connection.sendall(mine)
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(65536), b""))

        assert pair.host.call(talk) == theirs
        closed = server.event("closed")
        assert closed["sha256"] == hashlib.sha256(mine).hexdigest()
        assert closed["peer"][0] == pair.host.ipv6


def test_udp_counts_each_number_once(pair: Pair) -> None:
    with peer(pair.peer, "udp-counter") as server:

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                for number in (0, 1, 2, 2, 4):
                    out.sendto(numbered(number), (pair.peer.ipv4, server.port))

        pair.host.call(send)
        end = time.monotonic() + 5
        while (tally := server.tally())["received"] < 5:
            assert time.monotonic() < end
        assert tally == {"event": "tally", "received": 5, "unique": 4, "doubled": 1, "missing": [3]}


def test_capture_sees_the_kernels_rst(pair: Pair) -> None:
    with capture(pair.peer) as seen:
        assert not kernel_connect(pair, pair.peer.ipv4, 9)
        assert not kernel_connect(pair, pair.peer.ipv6, 9)
    assert [str(p.source) for p in seen.packets if p.rst] == [pair.peer.ipv4, pair.peer.ipv6]
    assert len([p for p in seen.packets if p.syn]) == 2
    assert any(p.protocol == ICMPV6 and p.icmp_type == 135 for p in seen.packets)


def test_forwarder_loses_what_it_was_told(pair: Pair) -> None:
    with impaired_pair("nk", loss=0.2, delay=0.002, reorder=0.1, seed=3) as bad:
        with peer(bad.peer, "tcp-sink") as server:
            data = pattern(300_000)

            def send() -> None:
                with socket.create_connection((bad.peer.ipv4, server.port), timeout=20) as out:
                    out.sendall(data)

            bad.host.call(send)
            closed = server.event("closed", timeout=30)
        assert closed["sha256"] == hashlib.sha256(data).hexdigest()
        counts = bad.extra["forwarder"].statistics()
        assert counts["lost"] > 20 and counts["reordered"] > 5
        bad.extra["forwarder"].change(loss=1.0)
        assert bad.host.run(["ping", "-c1", "-W1", bad.peer.ipv4], check=False).returncode == 1


def test_namespaces_go_on_an_exception() -> None:
    names: list[str] = []
    children: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        with netns_pair("nk") as ends:
            names.append(ends.host.name)
            children.append(ends.peer.popen(["sleep", "60"]))
            assert names[0] in existing()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names[0] not in existing()
    assert children[0].returncode is not None
