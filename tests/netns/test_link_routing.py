"""Which way: policy rules, multipath and tables as the kernel has them for this very flow."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from netkat.engine.attempt import Attempt
from netkat.engine.bypass import Bypass
from netkat.flow import Protocol
from netkat.options import PathOptions
from tests.helpers.capture import capture
from tests.helpers.exchange import run, tcp_echo, udp_echo
from tests.helpers.netns import Pair, join, namespace, netns_pair, wait_usable
from tests.helpers.peers import peer

FAR = {4: "203.0.113.9", 6: "2001:db8::9"}
SECOND = {4: ("10.88.0.1", "10.88.0.2"), 6: ("fd88::1", "fd88::2")}


@pytest.fixture
def two_ways(pair: Pair) -> Pair:
    """Two links to one router, which has the far addresses; the first is the default way."""
    host, router = pair.host, pair.peer
    join(host, router, a_name="eth1", b_name="eth1")
    for side, place in ((host, 0), (router, 1)):
        side.ip(
            f"addr add {SECOND[4][place]}/24 dev eth1",
            f"addr add {SECOND[6][place]}/64 dev eth1 nodad",
            "link set eth1 up",
        )
    for side in (host, router):
        wait_usable(side, "eth1")
    router.ip(*(f"addr add {FAR[v]}/{32 if v == 4 else 128} dev lo" for v in (4, 6)))
    for version, everything in ((4, "0.0.0.0/0"), (6, "::/0")):
        host.ip(
            f"route add {everything} via {router.address(version)}",
            f"route add {everything} via {SECOND[version][1]} table 100",
        )
    return pair


def prepared(
    pair: Pair,
    version: int,
    port: int,
    protocol: Protocol = Protocol.TCP,
    **wanted: object,
) -> Attempt:
    """The path that netkat chooses; nothing is sent."""
    options = PathOptions(netns=pair.host.name, guard="none", **wanted)  # type: ignore[arg-type]
    with Bypass(options) as bypass:
        return bypass.prepare(ip_address(FAR[version]), port, protocol=protocol)


@pytest.mark.parametrize("version", [4, 6])
def test_policy_rules(two_ways: Pair, version: int) -> None:
    """A rule that goes by the destination's port, and one by our own."""
    family = f"-{version}"
    for selector in ("dport 7001", "sport 4001"):
        words = f"ip {family} rule add ipproto tcp {selector} lookup 100".split()
        two_ways.host.run(words)
    assert prepared(two_ways, version, 7000).path.link.name == "eth0"
    assert prepared(two_ways, version, 7001).path.link.name == "eth1"
    assert prepared(two_ways, version, 7000, source_port=4001).path.link.name == "eth1"
    with peer(two_ways.peer, "tcp-echo", port=7001) as server:
        said = tcp_echo(two_ways.host, FAR[version], server.port)
    assert f"via {SECOND[version][1]}" in said
    assert prepared(two_ways, version, 7001, protocol=Protocol.UDP).path.link.name == "eth0"


@pytest.mark.parametrize("version", [4, 6])
def test_multipath_by_five_tuple(two_ways: Pair, version: int) -> None:
    """Each of many ports goes the way that the kernel's own hash gives it."""
    host, length = two_ways.host, 32 if version == 4 else 128
    host.sysctl(f"net.ipv{version}.fib_multipath_hash_policy", 1)
    host.ip(
        f"route add {FAR[version]}/{length} nexthop via {two_ways.peer.address(version)} dev eth0"
        f" nexthop via {SECOND[version][1]} dev eth1"
    )
    # A source of neither link: with one of a link's own, newer kernels prefer that link.
    source = ip_address("192.0.2.50" if version == 4 else "2001:db8::50")
    host.ip(f"addr add {source}/{length} dev lo")
    taken = set()
    for _ in range(16):
        attempt = prepared(two_ways, version, 7000, source=source)
        words = ["ip", f"-{version}", "route", "get", FAR[version], "from", str(source)]
        words += ["ipproto", "tcp", "dport", "7000", "sport", str(attempt.flow.local_port)]
        assert f"dev {attempt.path.link.name} " in host.run(words).stdout
        taken.add(attempt.path.link.name)
    assert taken == {"eth0", "eth1"}


@pytest.mark.parametrize("version", [4, 6])
def test_table(two_ways: Pair, version: int) -> None:
    """-V: a table by number or name, in place of the rules."""
    with peer(two_ways.peer, "tcp-echo") as server:
        said = tcp_echo(two_ways.host, FAR[version], server.port, "-V", "100")
        assert f"via {SECOND[version][1]}" in said
        said = tcp_echo(two_ways.host, FAR[version], server.port, "-V", "main")
        assert f"via {two_ways.peer.address(version)}" in said
    for table, words in (("99", "no match in routing table 99"), ("blue", "named 'blue'")):
        done = run(two_ways.host, "-V", table, FAR[version], "9", check=False)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr


@pytest.fixture
def two_macs() -> Iterator[Pair]:
    """A peer that is asked on one interface and answers by another, on the same bridge."""
    with netns_pair("nkl") as pair, namespace("nkl", "switch") as switch:
        host, other = pair.host, pair.peer
        host.ip("link del eth0")
        for name, (side, interface) in {
            "port1": (host, "eth0"),
            "port2": (other, "eth0"),
            "port3": (other, "eth1"),
        }.items():
            join(side, switch, a_name=interface, b_name=name)
        switch.ip("link add br0 type bridge", "link set br0 up")
        for name in ("port1", "port2", "port3"):
            switch.ip(f"link set {name} master br0", f"link set {name} up")
        for side in (host, other):
            side.ip(f"link set eth0 address {side.mac}")
        for side, interface in ((host, "eth0"), (other, "eth0")):
            side.ip(
                f"addr add {side.ipv4}/32 dev {interface}",
                f"addr add {side.ipv6}/128 dev {interface} nodad",
            )
        host.ip("link set eth0 up")
        for name in ("eth0", "eth1"):
            other.ip(f"link set {name} up")
            for setting in ("rp_filter=0", "arp_ignore=1"):
                other.sysctl(f"net.ipv4.conf.{name}.{setting.split('=')[0]}", setting[-1])
        other.sysctl("net.ipv4.conf.all.rp_filter", 0)
        host.ip(f"route add {other.ipv4} dev eth0", f"route add {other.ipv6} dev eth0")
        other.ip(f"route add {host.ipv4} dev eth1", f"route add {host.ipv6} dev eth1")
        wait_usable(host, "eth0")
        yield pair


@pytest.mark.parametrize("version", [4, 6])
def test_answers_from_another_mac(two_macs: Pair, version: int) -> None:
    host, other = two_macs.host, two_macs.peer
    with (
        peer(other, "tcp-echo") as tcp,
        peer(other, "udp-echo") as udp,
        capture(host, expression=f"port {tcp.port}") as seen,
    ):
        tcp_echo(host, other.address(version), tcp.port)
        udp_echo(host, other.address(version), udp.port)
    asked = bytes.fromhex(other.mac.replace(":", ""))
    ours = [p for p in seen.packets if str(p.source) == host.address(version)]
    answers = [p for p in seen.packets if str(p.source) == other.address(version)]
    assert {packet.destination_mac for packet in ours} == {asked}
    assert answers and asked not in {packet.source_mac for packet in answers}


@pytest.mark.parametrize("device", ["lo", "kube-ipvs0"])
@pytest.mark.parametrize("version", [4, 6])
def test_load_balancer_address_that_is_local(two_ways: Pair, version: int, device: str) -> None:
    """As kube-proxy's IPVS mode has it: the node holds the address, the network serves it."""
    host = two_ways.host
    if device != "lo":
        host.ip(f"link add {device} type bridge")
    host.ip(f"addr add {FAR[version]}/{32 if version == 4 else 128} dev {device}")
    assert "local" in host.run(["ip", "route", "get", FAR[version]]).stdout
    with peer(two_ways.peer, "tcp-echo") as server:
        done = run(host, FAR[version], str(server.port), stdin="hello")
        assert done.stdout == "hello"
        assert done.stderr.count("\n") == 1
        assert f"{FAR[version]} is an address of this host" in done.stderr
        assert server.event("accepted")["peer"][0] == host.address(version)


def test_own_addresses_are_refused_with_a_hint(pair: Pair) -> None:
    host = pair.host
    host.ip("addr add 10.99.0.77/24 dev eth0", "link add br0 type bridge", "link set br0 up")
    host.ip("addr add 10.55.0.1/24 dev br0", "addr add fd55::1/64 dev br0 nodad")
    own = ("10.99.0.77", host.ipv4, host.ipv6, host.link_local + "%eth0", "10.55.0.1", "fd55::1")
    for address in own:
        done = run(host, address, "9", check=False)
        assert done.returncode == 2, address
        assert "is an address of this host" in done.stderr
        assert "use nc for it" in done.stderr
    for address in ("127.0.0.1", "127.9.9.9", "::1"):
        done = run(host, address, "9", check=False)
        assert done.returncode == 2, address
        assert "is loopback" in done.stderr and "use nc for it" in done.stderr
