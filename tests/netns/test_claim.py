"""--claim: a foreign client's address, on a host that forwards, and the kernel stays out of it."""

from __future__ import annotations

import hashlib

import pytest

from netkat import Stack
from netkat.errors import AddressTaken, BadArgument, GuardFailed
from tests.helpers.capture import ICMP, ICMPV6, Packet, capture
from tests.helpers.exchange import netkat, run, tcp_echo
from tests.helpers.netns import ROOT, Namespace, Pair, namespace
from tests.helpers.peers import pattern, peer
from tests.helpers.tun_link import tun_link

STEPS = ["tcx", "clsact", "cbpf", "socket"]
CLAIMED = {4: "10.99.0.200", 6: "fd99::200"}
ARP = 0x0806
SOLICITATION = 135


@pytest.fixture
def node(pair: Pair) -> Pair:
    """As every Kubernetes node: it forwards, and would send redirects."""
    forward(pair.host)
    for name in ("all", "default", "eth0"):
        pair.host.sysctl(f"net.ipv4.conf.{name}.send_redirects", 1)
    return pair


def forward(space: Namespace) -> None:
    space.sysctl("net.ipv4.ip_forward", 1)
    space.sysctl("net.ipv6.conf.all.forwarding", 1)


def kernels_part(packets: list[Packet], pair: Pair, version: int) -> list[Packet]:
    """What of this only the host's kernel can have sent: ICMP, and asking for the address."""
    peer_mac = bytes.fromhex(pair.peer.mac.replace(":", ""))
    claimed = pair.host.ip_address(version).__class__(CLAIMED[version]).packed
    found = []
    for packet in packets:
        if packet.source_mac == peer_mac:
            continue
        body = packet.frame[14:]
        if packet.ethertype == ARP:
            request, sender, target = body[6:8] == b"\0\1", body[14:18], body[24:28]
            probe_or_announcement = sender in (bytes(4), claimed)
            if request and target == claimed and not probe_or_announcement:
                found.append(packet)
        elif packet.protocol == ICMP or (packet.icmp_error and packet.protocol == ICMPV6):
            found.append(packet)
        elif packet.protocol == ICMPV6:
            asks = packet.icmp_type == SOLICITATION and body[48:64] == claimed
            # A redirect; an echo reply; asking for the address with one of one's own.
            if packet.icmp_type in (137, 129) or (asks and body[8:24] not in (bytes(16), claimed)):
                found.append(packet)
    return found


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("version", [4, 6])
def test_a_foreign_client(node: Pair, version: int, step: str) -> None:
    """TCP, fragments and a ping to the address: answered by netkat or by nobody."""
    host, other, address = node.host, node.peer, CLAIMED[version]
    with (
        peer(other, "tcp-echo") as tcp,
        peer(other, "udp-echo") as udp,
        capture(other) as seen,
    ):
        said = tcp_echo(host, other.address(version), tcp.port, "--claim", address, "--guard", step)
        assert f"from {address} on eth0" in said
        assert tcp.event("closed")["peer"][0] == address
        with (
            Stack(netns=host.name, claim=address, guard=step) as stack,
            stack.open_datagram((other.address(version), udp.port), timeout=5) as conn,
        ):
            other.ip("neigh flush all")
            for size in (1, 20_000):
                conn.send(pattern(size))
                assert conn.recv(65536) == pattern(size)
            # Nobody is home but for the flow, and nobody says so.
            ping = ["ping", f"-{version}", "-c2", "-i0.2", "-W1", address]
            assert other.run(ping, check=False).returncode == 1
    assert kernels_part(seen.packets, node, version) == []
    assert {str(p.source) for p in seen.packets if p.syn} == {address}
    assert not [p for p in seen.packets if p.rst]
    neighbours = other.run(["ip", "neigh", "show", address]).stdout
    assert (node.host.mac in neighbours) is (step != "socket"), neighbours


@pytest.mark.parametrize("version", [4, 6])
def test_raw_capability_alone(node: Pair, version: int) -> None:
    """With CAP_NET_RAW alone it is a MAC of netkat's own, and the kernel looks away."""
    data = pattern(300_000)
    with peer(node.peer, "tcp-echo") as server, capture(node.peer) as seen:
        keep = "-all,+net_raw,+setpcap"
        argv = ["setpriv", f"--bounding-set={keep}", f"--inh-caps={keep}", "--ambient-caps=-all"]
        argv += netkat("-v", "--claim", CLAIMED[version], node.peer.address(version))
        done = node.host.run([*argv, str(server.port)], input=data, text=False, cwd=ROOT)
        digest = hashlib.sha256(done.stdout).digest()  # type: ignore[arg-type]
        assert digest == hashlib.sha256(data).digest()
        assert server.event("closed")["peer"][0] == CLAIMED[version]
    assert kernels_part(seen.packets, node, version) == []
    macs = {p.source_mac for p in seen.packets if str(p.source) == CLAIMED[version]}
    assert len(macs) == 1
    mac = macs.pop()
    assert mac.hex(":") != node.host.mac and mac[0] & 3 == 2


@pytest.mark.parametrize("version", [4, 6])
def test_somebody_has_it(pair: Pair, version: int) -> None:
    length = 24 if version == 4 else 64
    pair.peer.ip(f"addr add {CLAIMED[version]}/{length} dev eth0")
    done = run(pair.host, "--claim", CLAIMED[version], pair.peer.address(version), "9", check=False)
    assert done.returncode == 2
    assert f"{CLAIMED[version]} is in use on eth0 by {pair.peer.mac}" in done.stderr
    with (
        Stack(netns=pair.host.name, claim=CLAIMED[version]) as stack,
        pytest.raises(AddressTaken) as caught,
    ):
        stack.open_datagram((pair.peer.address(version), 9))
    assert caught.value.mac == bytes.fromhex(pair.peer.mac.replace(":", ""))
    assert str(caught.value.address) == CLAIMED[version]


def test_addresses_that_cannot_be_claimed(pair: Pair) -> None:
    """Its own, a pod's behind this host, none at all, of the other family."""
    host, server = pair.host, pair.peer.ipv4
    host.ip("link add br0 type bridge", "link set br0 up", "addr add 10.44.0.1/24 dev br0")
    for address, words in {
        host.ipv4: "an address of this host",
        "10.44.0.9": "is on br0, not on eth0",
        "0.0.0.0": "is not a usable source address",
        "224.0.0.9": "not one host's address",
        CLAIMED[6]: "cannot be used with",
    }.items():
        done = run(host, "--claim", address, server, "9", check=False)
        assert done.returncode == 2, address
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    done = run(host, "--claim", CLAIMED[4], "-s", host.ipv4, server, "9", check=False)
    assert done.returncode == 2 and "cannot be used with" in done.stderr
    with Stack(netns=host.name, claim=CLAIMED[6]) as stack:
        with pytest.raises(BadArgument, match="cannot be used with"):
            stack.open_datagram((server, 9))
        with pytest.raises(BadArgument, match="does not listen"):
            stack.create_server((host.ipv4, 0))


def test_refused_without_guard_on_a_macvlan(pair: Pair) -> None:
    host = pair.host
    host.ip(
        "addr flush dev eth0",
        "link add mv0 link eth0 type macvlan mode bridge",
        f"addr add {host.ipv4}/24 dev mv0",
        "link set mv0 up",
    )
    done = run(host, "--claim", CLAIMED[4], "--guard", "socket", pair.peer.ipv4, "9", check=False)
    assert done.returncode == 2
    assert "carries frames of its own MAC alone" in done.stderr


def test_on_a_tun() -> None:
    """No ARP there: with a guard it works, without one it is refused where the host forwards."""
    with namespace("nkl", "host") as host, namespace("nkl", "peer") as other, tun_link(host, other):
        forward(host)
        for side, number in ((host, 1), (other, 2)):
            side.ip(f"addr add 10.98.0.{number}/24 dev tun0", "link set tun0 up")
        with peer(other, "tcp-echo") as server, capture(other, "tun0") as seen:
            tcp_echo(host, "10.98.0.2", server.port, "--claim", "10.98.0.50")
            assert server.event("closed")["peer"][0] == "10.98.0.50"
        assert not [p for p in seen.packets if p.icmp_error or p.rst]
        with (
            Stack(netns=host.name, claim="10.98.0.50", guard="socket") as stack,
            pytest.raises(GuardFailed, match="it forwards packets"),
        ):
            stack.open_datagram(("10.98.0.2", 9))
