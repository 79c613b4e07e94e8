"""Next hops of open connections: where frames arrive at the other end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

import netkat
from netkat.conn import TcpConnection
from netkat.engine.bypass import Bypass
from netkat.engine.session import Session
from netkat.errors import NoAnswer
from netkat.flow import IPAddress, Protocol
from netkat.options import PathOptions
from netkat.stack import StackPath
from tests.helpers.capture import Packet, capture
from tests.helpers.netns import Host, join, wait_usable
from tests.helpers.peers import peer
from tests.helpers.two_routers import FAR, MACS, Routers, announce, two_routers
from tests.helpers.waiting import wait_until

NEW_MAC = "02:00:63:00:00:77"


@pytest.fixture
def routers() -> Iterator[Routers]:
    with two_routers() as found:
        yield found


@contextmanager
def bypass(host: Host) -> Iterator[Bypass]:
    made = Bypass(PathOptions(netns=host.name))
    made.load()
    try:
        yield made
    finally:
        made.close()


def dial(by: Bypass, address: str, port: int, via: IPAddress | None = None) -> TcpConnection:
    """A connection by a next hop of its own."""
    options = by.options._replace(via=via)
    attempt = by.prepare(ip_address(address), port, protocol=Protocol.TCP, options=options)
    return TcpConnection(by.dial(attempt, timeout=5), timeout=20)


def session_of(conn: TcpConnection) -> Session:
    """What the engine has of a connection."""
    session = conn._session
    assert isinstance(session, Session)
    return session


def move(conn: TcpConnection, next_hop: IPAddress) -> None:
    """Change the next hop of an open connection."""
    session = session_of(conn)
    session.uplink.admission.update(session.flow, next_hop)
    session.endpoint.set_path(StackPath(next_hop))


def echo(conn: TcpConnection | socket.socket, data: bytes = b"ping") -> None:
    conn.sendall(data)
    got = b""
    while len(got) < len(data):
        part = conn.recv(len(data) - len(got))
        assert part, "the connection ended"
        got += part
    assert got == data


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def payloads(packets: list[Packet], port: int) -> set[bytes]:
    """What arrived for a port."""
    return {p.payload for p in packets if p.destination_port == port and p.payload}


@pytest.mark.parametrize("version", [4, 6])
def test_next_hop_changes_under_an_open_connection(routers: Routers, version: int) -> None:
    machine, far = routers.machine, FAR[version]
    second = routers.address(version, "eth1")
    with (
        peer(machine, "tcp-echo", host=far) as server,
        bypass(routers.host) as by,
        dial(by, far, server.port) as conn,
        capture(machine, "eth0") as one,
        capture(machine, "eth1") as other,
    ):
        echo(conn, b"by the first")
        move(conn, second)
        echo(conn, b"by the second")
        one.stop()
        other.stop()
        assert payloads(one.packets, server.port) == {b"by the first"}
        assert payloads(other.packets, server.port) == {b"by the second"}
        seen = session_of(conn).evidence().seen
        assert (seen.next_hop, seen.next_hop_mac) == (second, mac(MACS["eth1"]))


@pytest.mark.parametrize("version", [4, 6])
def test_two_connections_to_one_destination_by_two_next_hops(
    routers: Routers, version: int
) -> None:
    machine, far = routers.machine, FAR[version]
    with (
        peer(machine, "tcp-echo", host=far) as server,
        bypass(routers.host) as by,
        capture(machine, "eth0") as one,
        capture(machine, "eth1") as other,
        dial(by, far, server.port, routers.address(version, "eth0")) as first,
        dial(by, far, server.port, routers.address(version, "eth1")) as second,
    ):
        assert session_of(first).uplink is session_of(second).uplink, "one packet socket"
        for _ in range(3):
            echo(first, b"first")
            echo(second, b"second")
        one.stop()
        other.stop()
        assert payloads(one.packets, server.port) == {b"first"}
        assert payloads(other.packets, server.port) == {b"second"}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "silent"])
def test_next_hop_gets_another_mac(routers: Routers, version: int, announced: bool) -> None:
    """A kernel socket needs 8 s at least where nothing is announced: DELAY, then three probes."""
    machine, far = routers.machine, FAR[version]
    with (
        peer(machine, "tcp-echo", host=far) as server,
        bypass(routers.host) as by,
        dial(by, far, server.port) as conn,
    ):
        echo(conn)
        machine.ip(f"link set eth0 address {NEW_MAC}")
        if announced:
            announce(machine, "eth0", routers.address(version, "eth0"), mac(NEW_MAC))
        began = time.monotonic()
        echo(conn)
        assert time.monotonic() - began < (1 if announced else 5)
        assert session_of(conn).evidence().seen.next_hop_mac == mac(NEW_MAC)


@pytest.mark.parametrize("version", [4, 6])
def test_hint_names_the_next_hop_that_frames_were_sent_to(routers: Routers, version: int) -> None:
    beyond = "203.0.113.77" if version == 4 else "2001:db8::77"
    hop = routers.address(version, "eth1")
    routers.machine.ip(f"route add {beyond} dev eth0")  # without one it would report that
    options = PathOptions(netns=routers.host.name, via=hop)
    with bypass(routers.host) as by:
        attempt = by.prepare(ip_address(beyond), 80, protocol=Protocol.TCP, options=options)
        with pytest.raises(NoAnswer) as caught:
            by.dial(attempt, timeout=0.5)
    assert caught.value.next_hop == hop
    assert f"next hop {hop} ({MACS['eth1']}) on eth0" in str(caught.value.hint)


@pytest.mark.parametrize("version", [4, 6])
def test_own_mac_changes(routers: Routers, version: int) -> None:
    machine, far = routers.machine, FAR[version]
    with (
        peer(machine, "tcp-echo", host=far) as server,
        bypass(routers.host) as by,
        dial(by, far, server.port) as conn,
        capture(machine, "eth0") as seen,
    ):
        echo(conn)
        routers.host.ip(f"link set eth0 address {NEW_MAC}")
        session_of(conn).uplink.stack.set_link(1500, mac(NEW_MAC))
        began = time.monotonic()
        echo(conn, b"after it")
        assert time.monotonic() - began < 1, "the request for the next hop shows it the new MAC"
        seen.stop()
        sources = {p.source_mac for p in seen.packets if p.payload == b"after it"}
        assert mac(NEW_MAC) in sources


@pytest.mark.parametrize("version", [4, 6])
def test_mtu_of_the_link_is_lowered_and_raised(routers: Routers, version: int) -> None:
    machine, far = routers.machine, FAR[version]
    with (
        peer(machine, "tcp-sink", host=far) as server,
        bypass(routers.host) as by,
        dial(by, far, server.port) as conn,
    ):
        for mtu in (1500, 1300, 1500):
            routers.host.ip(f"link set eth0 mtu {mtu}")
            session_of(conn).uplink.stack.set_link(mtu, mac(routers.host.mac))
            with capture(machine, "eth0", f"dst port {server.port}") as seen:
                conn.sendall(bytes(100_000))
                wait_until(lambda: conn.info().unacked == 0)
            assert max(len(packet.frame) - 14 for packet in seen.packets) == mtu


@pytest.mark.parametrize("version", [4, 6])
def test_connection_goes_on_over_another_interface(routers: Routers, version: int) -> None:
    machine, far = routers.machine, FAR[version]
    hop = second_link(routers, version)
    with (
        peer(machine, "tcp-echo", host=far) as server,
        peer(machine, "tcp-echo", host=str(hop)) as near,
        bypass(routers.host) as by,
        dial(by, str(hop), near.port) as there,
        dial(by, far, server.port) as conn,
        capture(machine, "net1") as seen,
    ):
        echo(conn, b"over eth0")
        flow, other = session_of(conn).flow, session_of(there).uplink
        other.admission.add(flow, hop)
        session_of(conn).endpoint.set_path(StackPath(hop, link=other.stack))
        back = "10.98.0.1" if version == 4 else "fd98::1"
        machine.ip(f"route replace {flow.local} via {back} dev net1")
        for size in (10, 100_000):
            echo(conn, bytes(size))
        seen.stop()
        assert sum(len(data) for data in payloads(seen.packets, server.port)) > 1000
        other.admission.remove(flow)


def second_link(routers: Routers, version: int) -> IPAddress:
    """Join host and machine by net1 as well: the machine's address there."""
    host, machine = routers.host, routers.machine
    join(host, machine, a_name="net1", b_name="net1")
    for number, side in enumerate((host, machine), 1):
        side.ip(
            f"addr add 10.98.0.{number}/24 dev net1",
            f"addr add fd98::{number}/64 dev net1 nodad",
            "link set net1 up",
        )
        side.sysctl("net.ipv4.conf.net1.rp_filter", 0)
        side.sysctl("net.ipv4.conf.all.rp_filter", 0)
    for side in (host, machine):
        wait_usable(side, "net1")
    return ip_address("10.98.0.2" if version == 4 else "fd98::2")


@pytest.mark.parametrize("version", [4, 6])
def test_listener_is_found_where_rules_drop_requests_for_its_mac(
    routers: Routers, version: int
) -> None:
    host, client = routers.host, routers.machine
    if version == 4:
        host.run(
            [
                "nft",
                "add table arp f; add chain arp f in { type filter hook input priority 0;"
                " policy drop; }",
            ]
        )
    else:
        host.run(["ip6tables", "-I", "INPUT", "-j", "DROP"])
    client.ip("neigh flush all")
    address = (host.address(version), 8080)
    with (
        netkat.Stack(netns=host.name) as stack,
        stack.create_server(address) as listener,
        client.call(lambda: socket.create_connection(address, timeout=10)) as asked,
    ):
        conn, _ = listener.accept()
        with conn:
            asked.sendall(b"hello")
            assert conn.recv(10) == b"hello"


@pytest.mark.parametrize("version", [4, 6])
def test_kernel_alone_answers_where_it_may(routers: Routers, version: int) -> None:
    host, client = routers.host, routers.machine
    address = (host.address(version), 8080)
    with netkat.Stack(netns=host.name) as stack, stack.create_server(address):
        client.ip("neigh flush all")
        with capture(host, "eth0", "arp or icmp6") as seen:
            client.call(lambda: socket.create_connection(address, timeout=10)).close()
        own = [p for p in seen.packets if p.source_mac == mac(host.mac)]
        answers = [p for p in own if p.icmp_type == 136 or p.frame[20:22] == b"\0\x02"]
        assert len(answers) == 1
