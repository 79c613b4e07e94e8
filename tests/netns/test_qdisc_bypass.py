"""--qdisc-bypass: around a tc egress program, which else has its way with our frames."""

from __future__ import annotations

import pytest

from tests.helpers.capture import capture
from tests.helpers.exchange import run, tcp_echo, udp_echo
from tests.helpers.netns import Pair
from tests.helpers.peers import peer


@pytest.fixture
def egress_drops(pair: Pair) -> Pair:
    """A program on tc egress that drops all that netkat could send to its peer's port."""
    host = pair.host
    host.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"])
    # One instruction: ret TC_ACT_SHOT.
    drop = ["bpf", "direct-action", "bytecode", "1,6 0 0 2"]
    host.run(["tc", "filter", "add", "dev", "eth0", "egress", *drop])
    return pair


def test_around_tc_egress(egress_drops: Pair) -> None:
    host, other = egress_drops.host, egress_drops.peer
    # Neighbour discovery of the kernel's own would be dropped too.
    for side, there in ((host, other), (other, host)):
        side.ip(f"neigh replace {there.ipv6} lladdr {there.mac} dev eth0 nud permanent")
    with peer(other, "tcp-echo") as tcp, peer(other, "udp-echo") as udp:
        done = run(host, "-w", "2", other.ipv4, str(tcp.port), stdin="x", check=False)
        assert done.returncode == 1
        assert "egress" in done.stderr
        for version in (4, 6):
            address = other.address(version)
            tcp_echo(host, address, tcp.port, "--qdisc-bypass")
            udp_echo(host, address, udp.port, 1, 3000, qdisc_bypass=True)


def test_hides_from_the_hosts_own_captures(pair: Pair) -> None:
    """Which is why it is asked for and never taken."""
    with peer(pair.peer, "tcp-echo") as server:
        for options, seen_here in (((), True), (("--qdisc-bypass",), False)):
            with capture(pair.host) as here, capture(pair.peer) as there:
                tcp_echo(pair.host, pair.peer.ipv4, server.port, *options, size=1000)
            assert any(p.syn for p in here.packets) is seen_here
            assert any(p.syn for p in there.packets)
