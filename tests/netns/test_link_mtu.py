"""MTUs from 1280 to 9000, and a smaller one on the way: told by ICMP, or by nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from netkat import Stack
from netkat.conn import TcpConnection
from netkat.stack import Option
from tests.helpers.capture import TCP, Packet, capture
from tests.helpers.exchange import tcp_echo, udp_echo
from tests.helpers.netns import (
    Host,
    Pair,
    join,
    namespace,
    netns_pair,
    wait_usable,
    without_offloads,
)
from tests.helpers.peers import peer
from tests.helpers.rules import nft, nft_chain, nft_table

NARROW = 1300
FAR = {4: "10.66.0.2", 6: "fd66::2"}
MIDDLE = {4: "10.66.0.1", 6: "fd66::1"}


@pytest.mark.parametrize("mtu", [1280, 1450, 1500, 9000])
@pytest.mark.parametrize("version", [4, 6])
def test_mtu_of_the_link(mtu: int, version: int) -> None:
    """Full packets of exactly that size, and none larger."""
    with (
        netns_pair("nkl", mtu=mtu, offloads=False) as pair,
        peer(pair.peer, "tcp-echo") as tcp,
        peer(pair.peer, "udp-echo") as udp,
        capture(pair.peer) as seen,
    ):
        address = pair.peer.address(version)
        tcp_echo(pair.host, address, tcp.port, size=500_000)
        udp_echo(pair.host, address, udp.port, mtu - (28 if version == 4 else 48), mtu)
    for end in (pair.host, pair.peer):
        sent = [len(p.frame) - 14 for p in seen.packets if str(p.source) == end.address(version)]
        assert max(sent) == mtu


@pytest.mark.parametrize("version", [4, 6])
def test_mtu_of_the_route(version: int) -> None:
    """Where the kernel's route has a smaller one than the link, both ends keep to it."""
    with (
        netns_pair("nkl", offloads=False) as pair,
        peer(pair.peer, "tcp-echo") as tcp,
        capture(pair.peer) as seen,
    ):
        address = pair.peer.address(version)
        pair.host.ip(f"route add {address}/{32 if version == 4 else 128} dev eth0 mtu {NARROW}")
        said = tcp_echo(pair.host, address, tcp.port, size=500_000)
        assert f"mtu {NARROW}" in said
    for end in (pair.host, pair.peer):
        assert NARROW - 28 <= max(sizes(seen.packets, end.address(version))) <= NARROW


@contextmanager
def narrow_middle(offloads: bool, mtu: int = NARROW) -> Iterator[tuple[Pair, Host]]:
    """host -- middle (a router) -- far; the second link is narrow, and far does not say so."""
    with netns_pair("nkl", offloads=offloads) as pair, namespace("nkl", "far") as far:
        middle = pair.peer
        join(middle, far, a_name="eth1", mtu=mtu)
        middle.sysctl("net.ipv4.ip_forward", 1)
        middle.sysctl("net.ipv6.conf.all.forwarding", 1)
        for side, interface, addresses in ((middle, "eth1", MIDDLE), (far, "eth0", FAR)):
            side.ip(
                f"addr add {addresses[4]}/24 dev {interface}",
                f"addr add {addresses[6]}/64 dev {interface} nodad",
                f"link set {interface} up",
            )
            if not offloads:
                without_offloads(side, interface)
        wait_usable(middle, "eth1")
        wait_usable(far, "eth0")
        # What far tells in its SYN is what its own link carries, unless told to lie.
        far.ip(
            f"route add default via {MIDDLE[4]} advmss 1460",
            f"route add ::/0 via {MIDDLE[6]} advmss 1440",
        )
        pair.host.ip(f"route add default via {middle.ipv4}", f"route add ::/0 via {middle.ipv6}")
        yield pair, far  # type: ignore[misc]


def sizes(packets: list[Packet], source: str) -> list[int]:
    """IP sizes of the TCP packets of one end."""
    return [len(p.frame) - 14 for p in packets if str(p.source) == source and p.protocol == TCP]


@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "plain"])
@pytest.mark.parametrize("version", [4, 6])
def test_path_mtu_told_by_icmp(version: int, offloads: bool) -> None:
    with narrow_middle(offloads) as (pair, far), peer(far, "tcp-sink") as server:
        with capture(pair.peer, "eth1") as seen, capture(pair.host) as near:
            sent = send_bulk(pair, FAR[version], server.port)
        assert server.event("closed")["bytes"] == sent
        told = [p for p in near.packets if p.icmp_error]
        assert {(p.icmp_type, p.icmp_code) for p in told} == {(3, 4) if version == 4 else (2, 0)}
        assert len(told) < 20
        if not offloads:
            narrowed = sizes(seen.packets, pair.host.address(version))
            # The stack keeps room for the largest of TCP's options in every segment.
            assert NARROW - 28 <= max(narrowed) <= NARROW
            assert len([size for size in narrowed if size == max(narrowed)]) > 200


def drop_errors(pair: Pair, version: int) -> None:
    """Have the router send no ICMP error."""
    tool = "iptables" if version == 4 else "ip6tables"
    kind = ["-p", "icmp"] if version == 4 else ["-p", "icmpv6", "--icmpv6-type", "2"]
    pair.peer.run([tool, "-A", "OUTPUT", *kind, "-j", "DROP"])


@pytest.mark.parametrize("version", [4, 6])
def test_path_mtu_black_hole(version: int) -> None:
    """The router drops what is too large and says nothing."""
    with narrow_middle(False) as (pair, far), peer(far, "tcp-sink") as server:
        drop_errors(pair, version)
        with capture(pair.host) as near:
            sent = send_bulk(pair, FAR[version], server.port)
        assert server.event("closed")["bytes"] == sent
        assert not [p for p in near.packets if p.icmp_error]


@pytest.mark.parametrize("icmp", [True, False], ids=["icmp", "black hole"])
@pytest.mark.parametrize("version", [4, 6])
def test_path_mtu_grows_back(version: int, icmp: bool) -> None:
    """The path becomes as wide as the links: the connection uses it again."""
    full = 1500 - (40 if version == 4 else 60) - 12
    with (
        narrow_middle(False, 1400) as (pair, far),
        peer(far, "tcp-sink") as server,
        Stack(netns=pair.host.name) as stack,
        stack.create_connection((FAR[version], server.port), timeout=5) as conn,
    ):
        if not icmp:
            drop_errors(pair, version)
        conn._endpoint.set_option(Option.MTU_EXPIRES, 500)
        sent = send_until(conn, lambda: 1392 <= path_mtu(conn, version) <= 1400)
        pair.peer.ip("link set eth1 mtu 1500")
        far.ip("link set eth0 mtu 1500")
        sent += send_until(conn, lambda: path_mtu(conn, version) == 1500)
        with capture(far) as seen:
            conn.sendall(bytes(200_000))
            conn.close()
            assert server.event("closed")["bytes"] == sent + 200_000
        segments = [p.payload for p in seen.packets if p.destination_port == server.port]
        assert max(map(len, segments)) == full
        assert len([s for s in segments if len(s) == full]) > 100


@pytest.mark.parametrize("version", [4, 6])
def test_lost_probes_cost_nothing(version: int) -> None:
    """The path stays narrow, and its router drops the probes without an ICMP error."""
    with (
        narrow_middle(False, 1400) as (pair, far),
        peer(far, "tcp-sink") as server,
        Stack(netns=pair.host.name) as stack,
        stack.create_connection((FAR[version], server.port), timeout=5) as conn,
    ):
        conn._endpoint.set_option(Option.MTU_EXPIRES, 1000)
        sent = send_until(conn, lambda: path_mtu(conn, version) == 1400)
        drop_errors(pair, version)
        conn._endpoint.set_option(Option.MTU_EXPIRES, 600_000)
        lowered = time.monotonic()
        sent += send_until(conn, lambda: time.monotonic() > lowered + 0.5)
        before = conn._endpoint.info().retransmits
        with capture(pair.peer) as seen:
            sent += send_until(conn, lambda: time.monotonic() > lowered + 4)
        probes = [len(p.frame) - 14 for p in seen.packets if len(p.frame) > 1414]
        assert probes.count(1500) == 3 and len(probes) == 3 * len(set(probes)), probes
        assert path_mtu(conn, version) == 1400
        assert conn._endpoint.info().retransmits == before
        conn.close()
        assert server.event("closed")["bytes"] == sent


def path_mtu(conn: TcpConnection, version: int) -> int:
    return conn._endpoint.info().mss + 12 + (40 if version == 4 else 60)


def send_until(conn: TcpConnection, done: Callable[[], bool]) -> int:
    """Send pieces until then; how many bytes."""
    deadline, sent = time.monotonic() + 20, 0
    while not done():
        assert time.monotonic() < deadline, f"segments of {conn._endpoint.info().mss}"
        conn.sendall(bytes(50_000))
        sent += 50_000
        time.sleep(0.02)
    return sent


@pytest.mark.parametrize("version", [4, 6])
def test_a_link_that_is_down_narrows_no_path(version: int) -> None:
    """Seconds without any answer; afterwards the segments are as large as before."""
    with (
        netns_pair("nkl", offloads=False) as pair,
        peer(pair.peer, "tcp-sink") as server,
        Stack(netns=pair.host.name) as stack,
        stack.create_connection((pair.peer.address(version), server.port), timeout=5) as conn,
    ):
        rule = f"tcp dport {server.port} drop"
        nft(pair.peer, nft_table("inet down", nft_chain("in", "filter", "input", "0", rule)))
        with capture(pair.peer) as seen:
            conn.sendall(bytes(100_000))
            while conn._endpoint.info().retransmits < 5:
                time.sleep(0.05)
        pair.peer.run(["nft", "delete", "table", "inet", "down"])
        small = [p for p in seen.packets if len(p.frame) == 14 + 1280]
        assert small, "a smaller copy asks whether it is a black hole"
        conn.sendall(bytes(100_000))
        conn.close()
        assert server.event("closed", timeout=30)["bytes"] == 200_000
        assert path_mtu(conn, version) == 1500


def send_bulk(pair: Pair, address: str, port: int, size: int = 300_000) -> int:
    """Send as a command does, to its end; how much."""
    from tests.helpers.exchange import netkat
    from tests.helpers.netns import ROOT
    from tests.helpers.peers import pattern

    done = pair.host.run(
        netkat("-v", address, str(port)), input=pattern(size), text=False, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return size
