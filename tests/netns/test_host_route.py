"""Routes, links and neighbours against a real kernel, compared with what ip(8) shows."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from netkat.errors import BadArgument, InterfaceDown, InterfaceNotFound, NoRoute
from netkat.flow import Protocol
from netkat.host.links import addresses, link, links
from netkat.host.neighbors import NeighborState, fixed_mac, neighbor
from netkat.host.routes import Route, is_own, route_past_local, route_to
from tests.helpers.netns import Pair


def ask(pair: Pair, destination: str, **how: object) -> Route:
    """route_to inside the host's namespace."""
    return pair.host.call(lambda: route_to(ip_address(destination), **how))  # type: ignore[arg-type]


def past(pair: Pair, destination: str, **how: object) -> Route:
    """route_past_local inside the host's namespace."""
    return pair.host.call(
        lambda: route_past_local(ip_address(destination), **how)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("version", [4, 6])
def test_on_link(pair: Pair, version: int) -> None:
    route = ask(pair, pair.peer.address(version), protocol=Protocol.TCP, remote_port=80)
    assert (route.interface, route.gateway, route.local) == ("eth0", None, False)
    assert route.source == pair.host.ip_address(version)
    assert route.mtu is None and route.table == 254


@pytest.mark.parametrize(
    ("command", "destination", "gateway", "mtu"),
    [
        ("route add default via 10.99.0.2 mtu 1400", "192.0.2.1", "10.99.0.2", 1400),
        ("route add default via fd99::2 mtu 1300", "2001:db8::1", "fd99::2", 1300),
        ("route add default via fe80::2 dev eth0", "2001:db8::1", "fe80::2", None),
        ("route add 192.0.2.0/24 via inet6 fe80::2 dev eth0", "192.0.2.1", "fe80::2", None),
        ("route add default via 169.254.1.1 dev eth0 onlink", "192.0.2.1", "169.254.1.1", None),
    ],
)
def test_gateways(
    pair: Pair, command: str, destination: str, gateway: str, mtu: int | None
) -> None:
    pair.host.ip(command)
    route = ask(pair, destination)
    assert (str(route.gateway), route.mtu) == (gateway, mtu)
    table = ask(pair, destination, table=254)
    assert (table.gateway, table.mtu, table.source) == (route.gateway, route.mtu, route.source)


@pytest.mark.parametrize("compatible", [1, 0])
def test_nexthop_objects(pair: Pair, compatible: int) -> None:
    pair.host.sysctl("net.ipv4.nexthop_compat_mode", compatible)
    pair.host.ip(
        "nexthop add id 7 via 10.99.0.9 dev eth0",
        "nexthop add id 8 via 10.99.0.10 dev eth0",
        "nexthop add id 9 group 7/8",
        "route add 192.0.2.0/24 nhid 7",
        "route add 198.51.100.0/24 nhid 9",
    )
    assert str(ask(pair, "192.0.2.1").gateway) == "10.99.0.9"
    assert str(ask(pair, "192.0.2.1", table=254).gateway) == "10.99.0.9"
    assert str(ask(pair, "198.51.100.1", table=254).gateway) == "10.99.0.9"


def test_multipath_follows_the_ports(pair: Pair) -> None:
    pair.host.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
    pair.host.ip("route add 192.0.2.0/24 nexthop via 10.99.0.3 nexthop via 10.99.0.4")
    for port in range(1, 30):
        route = ask(
            pair, "192.0.2.1", protocol=Protocol.TCP, local_port=4000 + port, remote_port=80
        )
        shown = pair.host.run(
            f"ip -j route get 192.0.2.1 ipproto tcp sport {4000 + port} dport 80".split()
        )
        assert str(route.gateway) == json.loads(shown.stdout)[0]["gateway"]


def test_policy_rules_see_the_five_tuple(pair: Pair) -> None:
    pair.host.ip(
        "route add default via 10.99.0.2",
        "route add default via 10.99.0.3 table 77",
        "rule add pref 100 ipproto udp dport 53 lookup 77",
    )
    udp = {"protocol": Protocol.UDP, "remote_port": 53}
    assert str(ask(pair, "192.0.2.1", **udp).gateway) == "10.99.0.3"
    tcp = ask(pair, "192.0.2.1", protocol=Protocol.TCP, remote_port=53)
    assert str(tcp.gateway) == "10.99.0.2"
    assert str(past(pair, "192.0.2.1", **udp).gateway) == "10.99.0.3"


@pytest.mark.parametrize("network", ["192.0.2.0/24", "2001:db8::/64"])
@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_routes_that_lead_nowhere(pair: Pair, kind: str, network: str) -> None:
    pair.host.ip(f"route add {kind} {network}")
    destination = network.split("/")[0].removesuffix("0") + "1"
    with pytest.raises(NoRoute, match=kind):
        ask(pair, destination)
    with pytest.raises(NoRoute, match=kind):
        past(pair, destination)


@pytest.mark.parametrize("destination", ["192.0.2.1", "2001:db8::1"])
def test_no_route(pair: Pair, destination: str) -> None:
    with pytest.raises(NoRoute, match="no route to it"):
        ask(pair, destination)
    with pytest.raises(NoRoute):
        ask(pair, destination, table=254)
    pair.host.ip("link add down0 type bridge")
    with pytest.raises(InterfaceDown, match="down0 is down"):
        ask(pair, destination, interface="down0")


def test_asked_for_interface_without_a_route(pair: Pair) -> None:
    """IPv4's own rule (ip_route_output_key_hash_rcu); IPv6 has no such."""
    route = ask(pair, "192.0.2.1", interface="eth0")
    assert (route.gateway, route.table, route.local) == (None, 0, False)
    with pytest.raises(NoRoute, match="on eth0"):
        ask(pair, "2001:db8::1", interface="eth0")


def test_zones(pair: Pair) -> None:
    there = pair.peer.link_local
    route = ask(pair, f"{there}%eth0")
    assert route.interface == "eth0" and str(route.source) == f"{pair.host.link_local}%eth0"
    assert ask(pair, f"{there}%2").index == 2
    assert ask(pair, there, interface="eth0").interface == "eth0"
    with pytest.raises(BadArgument, match="which interface"):
        ask(pair, there)
    with pytest.raises(BadArgument, match="two different interfaces"):
        ask(pair, f"{there}%eth0", interface="lo")
    with pytest.raises(InterfaceNotFound):
        ask(pair, f"{there}%eth7")


def test_own_addresses_are_local(pair: Pair) -> None:
    own = [pair.host.ipv4, pair.host.ipv6, "127.0.0.1", "::1", f"{pair.host.link_local}%eth0"]
    for address in own:
        assert ask(pair, address).local, address
        assert pair.host.call(lambda address=address: is_own(ip_address(address)))  # type: ignore[misc]
    for address in (pair.peer.ipv4, pair.peer.ipv6, f"{pair.peer.link_local}%eth0"):
        assert not pair.host.call(lambda address=address: is_own(ip_address(address)))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("own", "foreign", "to"),
    [
        ("10.99.0.1", "10.99.0.77", "10.99.0.2"),
        ("fd99::1", "fd99::77", "fd99::2"),
    ],
)
def test_source_must_be_ours(pair: Pair, own: str, foreign: str, to: str) -> None:
    assert str(ask(pair, to, source=ip_address(own)).source) == own
    with pytest.raises(BadArgument, match="not an address of this host"):
        ask(pair, to, source=ip_address(foreign))
    with pytest.raises(BadArgument, match="family"):
        ask(pair, to, source=ip_address("fd99::1" if "." in to else "10.99.0.1"))


def test_past_the_local_table(pair: Pair) -> None:
    """As kube-proxy's IPVS mode has it: the LoadBalancer address on a dummy interface."""
    pair.host.ip(
        "link add kube-ipvs0 type bridge",
        "addr add 203.0.113.5/32 dev kube-ipvs0",
        "addr add 2001:db8::5/128 dev kube-ipvs0",
        "route add default via 10.99.0.2",
        "route add default via fd99::2",
        "link set kube-ipvs0 up",
    )
    for address, gateway in (("203.0.113.5", "10.99.0.2"), ("2001:db8::5", "fd99::2")):
        assert ask(pair, address).local
        route = past(pair, address)
        assert (route.local, str(route.gateway), route.interface) == (False, gateway, "eth0")
        assert route.source == pair.host.ip_address(route.source.version)


def test_past_local_walks_rules_as_the_kernel_does(pair: Pair) -> None:
    pair.host.ip(
        "addr add 10.99.5.1/24 dev eth0",
        "route add default via 10.99.0.2",
        "route add default via 10.99.0.3 table 77",
        "route add throw 192.0.2.0/24 table 78",
        "route add default via 10.99.0.4 table 78",
        "route add default via 10.99.0.5 table 79",
        "rule add pref 90 fwmark 0x1 lookup 79",
        "rule add pref 91 iif eth0 lookup 79",
        "rule add pref 92 not to 0.0.0.0/0 lookup 79",
        "rule add pref 93 lookup main suppress_prefixlength 0",
        "rule add pref 100 from 10.99.5.1 lookup 78",
        "rule add pref 110 to 192.0.2.128/25 goto 130",
        "rule add pref 120 to 192.0.2.0/24 lookup 77",
        "rule add pref 130 to 198.51.100.0/24 prohibit",
    )
    cases = [("192.0.2.1", None), ("192.0.2.200", None), ("192.0.2.1", "10.99.5.1")]
    cases += [("203.0.113.1", "10.99.5.1"), ("203.0.113.1", None), ("10.99.0.7", None)]
    for destination, source in cases:
        how = {"source": IPv4Address(source)} if source else {}
        kernel, walked = ask(pair, destination, **how), past(pair, destination, **how)
        assert (walked.gateway, walked.table, walked.source) == (
            kernel.gateway,
            kernel.table,
            kernel.source,
        ), (destination, source)
    for question in (ask, past):
        with pytest.raises(NoRoute, match="prohibit"):
            question(pair, "198.51.100.1")


def test_link_facts(pair: Pair) -> None:
    here = pair.host.call(lambda: link("eth0"))
    shown = json.loads(pair.host.run(["ip", "-j", "link", "show", "eth0"]).stdout)[0]
    assert (here.index, here.mtu, here.mac and here.mac.hex(":")) == (
        shown["ifindex"],
        shown["mtu"],
        shown["address"],
    )
    assert here.ethernet and here.up and here.running and not here.noarp and here.kind == "veth"
    assert pair.host.call(lambda: link(here.index)) == here
    pair.host.ip("link set eth0 down")
    assert not pair.host.call(lambda: link("eth0")).up


def test_kinds_of_links(pair: Pair) -> None:
    pair.host.ip(
        "link add br0 type bridge",
        "link add vx0 type vxlan id 7 dev eth0 dstport 4789",
        "tuntap add tun7 mode tun",
        "link set vx0 master br0",
        "link property add dev eth0 altname a-name-longer-than-fifteen-characters",
    )
    named = {entry.name: entry for entry in pair.host.call(links)}
    for name in ("br0", "vx0", "eth0", "lo"):
        assert named[name].ethernet and len(named[name].mac or b"") == 6, name
    assert not named["tun7"].ethernet and named["tun7"].mac is None
    assert named["tun7"].noarp and not named["tun7"].up
    assert named["vx0"].master == named["br0"].index
    assert (named["vx0"].kind, named["br0"].kind, named["tun7"].kind) == ("vxlan", "bridge", "tun")
    assert named["lo"].loopback and not named["eth0"].loopback
    longer = pair.host.call(lambda: link("a-name-longer-than-fifteen-characters"))
    assert longer.name == "eth0"


def test_unknown_interfaces(pair: Pair) -> None:
    with pytest.raises(InterfaceNotFound) as caught:
        pair.host.call(lambda: link("eth1"))
    assert caught.value.hint == "try eth0"
    with pytest.raises(InterfaceNotFound):
        pair.host.call(lambda: link(4711))
    with pytest.raises(InterfaceNotFound):
        pair.host.call(lambda: link("x" * 200))


def test_addresses(pair: Pair) -> None:
    pair.host.ip("addr add 10.1.1.1 peer 10.1.1.2/32 dev eth0")
    here = {str(own.address): own for own in pair.host.call(lambda: addresses(2))}
    assert set(here) == {"10.99.0.1", "10.1.1.1", "fd99::1", pair.host.link_local}
    assert here["10.99.0.1"].prefix_length == 24 and not here["fd99::1"].tentative
    everywhere = {str(own.address) for own in pair.host.call(addresses)}
    assert everywhere == {*here, "127.0.0.1", "::1"}


@pytest.mark.parametrize("version", [4, 6])
def test_neighbours(pair: Pair, version: int) -> None:
    there = pair.peer.ip_address(version)
    assert pair.host.call(lambda: neighbor(2, there)) is None
    pair.host.run(["ping", "-c1", str(there)])
    entry = pair.host.call(lambda: neighbor(2, there))
    assert entry is not None and entry.mac == bytes.fromhex(pair.peer.mac.replace(":", ""))
    assert pair.host.call(lambda: fixed_mac(2, there)) is None
    for state, wanted in (("permanent", True), ("noarp", True), ("stale", False)):
        pair.host.ip(f"neigh replace {there} lladdr 02:00:00:00:00:09 dev eth0 nud {state}")
        known = pair.host.call(lambda: fixed_mac(2, there))
        assert known == (bytes.fromhex("020000000009") if wanted else None), state
    entry = pair.host.call(lambda: neighbor(2, there))
    assert entry is not None and entry.state is NeighborState.STALE
    pair.host.ip(f"neigh flush to {there}")
    assert pair.host.call(lambda: fixed_mac(4711, there)) is None


def test_many_routes_in_one_dump(pair: Pair) -> None:
    """Far more than one datagram of netlink holds."""
    pair.host.ip(
        *(
            f"route add 172.{16 + n // 250}.{n % 250}.0/24 via 10.99.0.{2 + n % 200}"
            for n in range(2000)
        )
    )
    route = ask(pair, f"172.{16 + 1999 // 250}.{1999 % 250}.9", table=254)
    assert route.gateway == IPv4Address(f"10.99.0.{2 + 1999 % 200}")
    assert ask(pair, f"172.{16 + 1999 // 250}.{1999 % 250}.9").gateway == route.gateway


def test_ipv6_source_specific_route(pair: Pair) -> None:
    pair.host.ip(
        "addr add fd55::1/64 dev eth0 nodad",
        "route add default from fd55::/64 via fe80::7 dev eth0",
    )
    route = ask(pair, "2001:db8::1", source=IPv6Address("fd55::1"), table=254)
    assert str(route.gateway) == "fe80::7"
    with pytest.raises(NoRoute):
        ask(pair, "2001:db8::1", source=IPv6Address("fd99::1"), table=254)
