"""Next hops that no subnet holds: Calico's 169.254.1.1, a router's fe80::1."""

from __future__ import annotations

import pytest

from tests.helpers.exchange import tcp_echo, udp_echo
from tests.helpers.netns import Pair
from tests.helpers.peers import peer

FAR = {4: "203.0.113.9", 6: "2001:db8::9"}


@pytest.fixture
def pod(pair: Pair) -> Pair:
    """A host with host addresses alone, and the router that it is told of."""
    host, router = pair.host, pair.peer
    for side in (host, router):
        side.ip("addr flush dev eth0 scope global")
    router.ip(
        "addr add 169.254.1.1/32 dev eth0",
        "addr add fe80::1/64 dev eth0 nodad",
        f"addr add {FAR[4]}/32 dev lo",
        f"addr add {FAR[6]}/128 dev lo",
        f"route add {host.ipv4}/32 dev eth0",
        f"route add {host.ipv6}/128 dev eth0",
    )
    host.ip(
        f"addr add {host.ipv4}/32 dev eth0",
        f"addr add {host.ipv6}/128 dev eth0 nodad",
        "route add 169.254.1.1 dev eth0 scope link",
        "route add default via 169.254.1.1 dev eth0",
        "route add ::/0 via fe80::1 dev eth0",
    )
    return pair


@pytest.mark.parametrize("version", [4, 6])
def test_on_link_gateway(pod: Pair, version: int) -> None:
    far = FAR[version]
    with peer(pod.peer, "tcp-echo") as tcp, peer(pod.peer, "udp-echo", host=far) as udp:
        said = tcp_echo(pod.host, far, tcp.port)
        assert f"via {'169.254.1.1' if version == 4 else 'fe80::1'}" in said
        udp_echo(pod.host, far, udp.port)
