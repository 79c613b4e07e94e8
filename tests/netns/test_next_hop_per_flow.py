"""One destination through several next hops at once, over one packet socket and one guard."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netkat.conn import TcpConnection, UdpConnection
from netkat.engine.bypass import Bypass
from netkat.engine.session import Session
from netkat.flow import IPAddress, Protocol
from netkat.options import PathOptions
from tests.helpers.capture import Capture, capture
from tests.helpers.netns import Pair, wait_usable
from tests.helpers.peers import peer

FAR = {4: "203.0.113.9", 6: "2001:db8::9"}
SECOND = {4: "10.99.0.3", 6: "fd99::3"}


@pytest.fixture
def two_routers(pair: Pair) -> Pair:
    """The peer has two MACs on the link, an address at each, and the far addresses."""
    router = pair.peer
    router.ip(
        "link add link eth0 name mac1 type macvlan mode bridge",
        "link set mac1 up",
        f"addr add {SECOND[4]}/24 dev mac1",
        f"addr add {SECOND[6]}/64 dev mac1 nodad",
        f"addr add {FAR[4]}/32 dev lo",
        f"addr add {FAR[6]}/128 dev lo",
    )
    # Each interface answers for its own address; packets for either are taken at both.
    for name in ("all", "eth0", "mac1"):
        router.sysctl(f"net.ipv4.conf.{name}.arp_ignore", 1)
        router.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    wait_usable(router, "mac1")
    for version in (4, 6):
        # Without one, a MAC alone would not name the interface.
        pair.host.ip(f"route add {FAR[version]} via {router.address(version)}")
    return pair


def mac_of(pair: Pair, interface: str) -> bytes:
    text = pair.peer.run(["cat", f"/sys/class/net/{interface}/address"]).stdout
    return bytes.fromhex(text.strip().replace(":", ""))


def macs_of_flow(seen: Capture, session: Session) -> set[bytes]:
    port = session.flow.local_port
    return {one.destination_mac for one in seen.so_far() if one.source_port == port}


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_open_connections_through_two_next_hops(two_routers: Pair, version: int) -> None:
    pair, far = two_routers, ip_address(FAR[version])
    first, second = mac_of(pair, "eth0"), mac_of(pair, "mac1")
    assert first != second
    hops: list[tuple[IPAddress | bytes, bytes]] = [
        (ip_address(pair.peer.address(version)), first),
        (ip_address(SECOND[version]), second),
        (second, second),
    ]
    options = PathOptions(netns=pair.host.name)
    with (
        peer(pair.peer, "tcp-echo") as tcp,
        peer(pair.peer, "udp-echo", host=str(far)) as udp,
        Bypass(options) as bypass,
        capture(pair.peer, "eth0", "tcp or udp") as seen,
    ):
        attempts = [
            (protocol, bypass.prepare(far, port, protocol=protocol, options=chosen), mac)
            for protocol, port in ((Protocol.TCP, tcp.port), (Protocol.UDP, udp.port))
            for hop, mac in hops
            for chosen in (options._replace(via=hop),)
        ]
        bypass.load()
        sessions = [
            (protocol, bypass.dial(attempt, timeout=5), mac) for protocol, attempt, mac in attempts
        ]
        # All are open by now: the last one has not changed the path of the others.
        conns = [
            (TcpConnection if protocol is Protocol.TCP else UdpConnection)(session)
            for protocol, session, _ in sessions
        ]
        for conn in conns * 2:
            conn.settimeout(5)
            conn.send(b"through its own next hop")
            assert conn.recv(100) == b"through its own next hop"
        for protocol, session, mac in sessions:
            assert macs_of_flow(seen, session) == {mac}, (protocol, session.path)
        packet_sockets = pair.host.run(["cat", "/proc/net/packet"]).stdout.splitlines()[1:]
        assert len(packet_sockets) == 1
        assert len(bypass.notes()) == 1
        for conn in conns:
            conn.close()
