"""The reserved port: the kernel stays silent on it, and nobody else's flow is taken."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from netkat.errors import BadArgument, InterfaceNotFound, MissingCapability, PortTaken
from netkat.flow import Protocol
from netkat.host.conntrack import find_entry
from netkat.host.port_reservation import reserve
from tests.helpers.capture import capture
from tests.helpers.netns import (
    ROOT,
    Namespace,
    Pair,
    join,
    namespace,
    netns_pair,
)
from tests.helpers.peers import peer
from tests.helpers.rules import masquerade, track_connections

VERSIONS = (4, 6)

ONLY_NET_RAW = ["setpriv", "--bounding-set=-all,+net_raw"]

CHILD = """
import sys
from ipaddress import ip_address
from netkat.flow import Protocol
from netkat.host.capabilities import held
from netkat.host.port_reservation import reserve
held = held()
taken = reserve(Protocol[sys.argv[1]], ip_address(sys.argv[2]))
print(taken.port, *sorted(held), "filtered" if taken.filtered else "bare", flush=True)
sys.stdin.read()
"""

BIND_ONLY = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == "TCP" else socket.SOCK_DGRAM
taken = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, kind)
taken.bind((sys.argv[2], 0))
print(taken.getsockname()[1], "none", "bare", flush=True)
if sys.argv[1] == "UDP":
    taken.close()
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(pair: Pair, code: str, *arguments: str, wrap: list[str]) -> Iterator[list[str]]:
    """A child in the host's namespace that holds a port; what it said."""
    argv = [*wrap, sys.executable, "-c", code, *arguments]
    child = pair.host.popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    words = child.stdout.readline().decode().split()
    assert words, "the child said nothing"
    try:
        yield words
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(20)


def send_raw(pair: Pair, protocol: Protocol, version: int, port: int, peer_port: int) -> None:
    """A SYN or a datagram that the kernel's own stack knows nothing of."""
    source, destination = pair.host.address(version), pair.peer.address(version)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    if protocol is Protocol.TCP:
        body = struct.pack("!HHIIBBHHH", port, peer_port, 7, 0, 0x50, 0x02, 65535, 0, 0)
        at = 16
    else:
        body = struct.pack("!HHHH4s", port, peer_port, 12, 0, b"ping")
        at = 6
    pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    pseudo += struct.pack("!II", len(body), protocol)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(body)) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:at] + struct.pack("!H", ~total & 0xFFFF) + body[at + 2 :]

    def send() -> None:
        with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
            raw.sendto(body, (destination, 0))

    pair.host.call(send)


def answers_of_the_kernel(
    pair: Pair, protocol: Protocol, version: int, code: str, *, wrap: list[str]
) -> tuple[list[str], int]:
    """What the host's kernel says to the peer's answer, and how many answers there were."""
    kind = "tcp-echo" if protocol is Protocol.TCP else "udp-echo"
    local = pair.host.address(version)
    with (
        peer(pair.peer, kind) as server,
        holder(pair, code, protocol.name, local, wrap=wrap) as words,
        capture(pair.peer) as seen,
    ):
        send_raw(pair, protocol, version, int(words[0]), server.port)
        time.sleep(0.3)
    said = ["RST" for p in seen.packets if p.rst and str(p.source) == local]
    said += ["ICMP" for p in seen.packets if p.icmp_error and str(p.source) == local]
    return said, len([p for p in seen.packets if p.source_port == server.port])


@pytest.mark.parametrize("wrap", [ONLY_NET_RAW, []], ids=["net_raw", "root"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", Protocol, ids=str)
def test_kernel_stays_silent(pair: Pair, protocol: Protocol, version: int, wrap: list[str]) -> None:
    said, answers = answers_of_the_kernel(pair, protocol, version, CHILD, wrap=wrap)
    assert answers > 0, "the peer never answered, so silence would prove nothing"
    assert said == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", Protocol, ids=str)
def test_without_the_shadow_the_kernel_answers(
    pair: Pair, protocol: Protocol, version: int
) -> None:
    """The counter-test: bind alone (TCP), or no socket at all (UDP)."""
    said, answers = answers_of_the_kernel(pair, protocol, version, BIND_ONLY, wrap=[])
    assert answers > 0
    assert said


def test_child_really_has_net_raw_alone(pair: Pair) -> None:
    with holder(pair, CHILD, "TCP", pair.host.ipv4, wrap=ONLY_NET_RAW) as words:
        assert words[1:] == ["CAP_NET_RAW", "bare"]
    with holder(pair, CHILD, "UDP", pair.host.ipv4, wrap=ONLY_NET_RAW) as words:
        assert words[1:] == ["CAP_NET_RAW", "filtered"]


def test_filter_stops_a_neighbour_with_ttl_255(pair: Pair) -> None:
    pair.peer.sysctl("net.ipv4.ip_default_ttl", 255)
    said, answers = answers_of_the_kernel(pair, Protocol.TCP, 4, CHILD, wrap=[])
    assert answers > 0 and said == []
    said, answers = answers_of_the_kernel(pair, Protocol.TCP, 4, CHILD, wrap=ONLY_NET_RAW)
    assert answers > 0 and said == ["RST"], "the limit that port_reservation.py tells of"


@pytest.mark.parametrize("protocol", Protocol, ids=str)
def test_taken_port_names_its_owner(pair: Pair, protocol: Protocol) -> None:
    kind = "tcp-echo" if protocol is Protocol.TCP else "udp-echo"
    with peer(pair.host, kind) as server:
        with pytest.raises(PortTaken) as caught:
            pair.host.call(lambda: reserve(protocol, ip_address(pair.host.ipv4), server.port))
        assert f"pid {server.pid}" in str(caught.value)
        assert str(server.port) in str(caught.value) and caught.value.owner


def test_two_reservations_do_not_meet(pair: Pair) -> None:
    local = ip_address(pair.host.ipv4)

    def twice() -> None:
        first = reserve(Protocol.TCP, local)
        second = reserve(Protocol.TCP, local)
        assert first.port != second.port
        with pytest.raises(PortTaken):
            reserve(Protocol.TCP, local, first.port)
        first.close()
        first.close()
        reserve(Protocol.TCP, local, first.port).close()
        second.close()

    pair.host.call(twice)


def test_privileged_port_needs_its_capability(pair: Pair) -> None:
    code = CHILD.replace("ip_address(sys.argv[2])", "ip_address(sys.argv[2]), 80")
    argv = [*ONLY_NET_RAW, sys.executable, "-c", code, "TCP", pair.host.ipv4]
    done = pair.host.run(argv, check=False, cwd=ROOT)
    assert MissingCapability.__name__ in done.stderr and "CAP_NET_BIND_SERVICE" in done.stderr


@pytest.mark.parametrize("address", ["10.99.0.77", "fd99::77"])
def test_foreign_address(pair: Pair, address: str) -> None:
    with pytest.raises(BadArgument, match="not an address of this host"):
        pair.host.call(lambda: reserve(Protocol.TCP, ip_address(address)))


def test_tentative_address(pair: Pair) -> None:
    pair.host.sysctl("net.ipv6.conf.eth0.accept_dad", 1)
    pair.host.sysctl("net.ipv6.conf.eth0.dad_transmits", 100)
    pair.host.ip("addr add fd99::50/64 dev eth0")
    with pytest.raises(BadArgument, match="is tentative"):
        pair.host.call(lambda: reserve(Protocol.TCP, ip_address("fd99::50")))


@contextlib.contextmanager
def pod_behind(pair: Pair) -> Iterator[Namespace]:
    """A pod whose traffic the host masquerades."""
    with namespace("nk", "pod") as pod:
        join(pair.host, pod, a_name="veth-pod")
        pair.host.ip("addr add 10.244.1.1/24 dev veth-pod", "link set veth-pod up")
        pod.ip("addr add 10.244.1.2/24 dev eth0", "link set eth0 up")
        pod.ip("route add default via 10.244.1.1")
        masquerade(pair.host, "eth0")
        yield pod


def test_masqueraded_pod_keeps_its_port(pair: Pair) -> None:
    """The pod's flow has no socket here, yet its port is not free for that peer."""
    local, remote = ip_address(pair.host.ipv4), ip_address(pair.peer.ipv4)
    with pod_behind(pair) as pod, peer(pair.peer, "tcp-echo") as server:

        def dial() -> socket.socket:
            return socket.create_connection(
                (pair.peer.ipv4, server.port), timeout=5, source_address=("", 4444)
            )

        with pod.call(dial) as flow:
            assert server.event("accepted")["peer"] == [pair.host.ipv4, 4444]

            def take(port: int, remote_port: int) -> tuple[int, bool]:
                held = reserve(Protocol.TCP, local, port, remote=remote, remote_port=remote_port)
                held.close()
                return held.port, held.conntrack_checked

            with pytest.raises(PortTaken) as caught:
                pair.host.call(lambda: take(4444, server.port))
            assert "10.244.1.2:4444" in str(caught.value.owner)
            assert pair.host.call(lambda: take(4444, server.port + 1)) == (4444, True)
            # Only this port and another to choose from: never the pod's.
            pair.host.sysctl("net.ipv4.ip_local_port_range", "4444 4445")
            for _ in range(8):
                assert pair.host.call(lambda: take(0, server.port)) == (4445, True)
            flow.sendall(b"still here")
            assert flow.recv(64) == b"still here"


def test_every_port_in_use_is_said(pair: Pair) -> None:
    local, remote = ip_address(pair.host.ipv4), ip_address(pair.peer.ipv4)
    with pod_behind(pair) as pod, peer(pair.peer, "tcp-echo") as server:
        flows = [
            pod.call(
                lambda port=port: socket.create_connection(  # type: ignore[misc]
                    (pair.peer.ipv4, server.port), timeout=5, source_address=("", port)
                )
            )
            for port in (4444, 4445)
        ]
        pair.host.sysctl("net.ipv4.ip_local_port_range", "4444 4445")
        with pytest.raises(PortTaken, match=r"each of 2 tried .* masqueraded flow"):
            pair.host.call(
                lambda: reserve(Protocol.TCP, local, remote=remote, remote_port=server.port)
            )
        pair.host.sysctl("net.ipv4.ip_local_port_range", "4446 4446")
        with (
            peer(pair.host, "tcp-echo", port=4446),
            pytest.raises(PortTaken, match="in use by sockets"),
        ):
            pair.host.call(lambda: reserve(Protocol.TCP, local))
        for flow in flows:
            flow.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", Protocol, ids=str)
def test_conntrack_entry_found_both_ways(pair: Pair, protocol: Protocol, version: int) -> None:
    track_connections(pair.host)
    kind = "tcp-echo" if protocol is Protocol.TCP else "udp-echo"
    local, remote = pair.host.ip_address(version), pair.peer.ip_address(version)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with peer(pair.peer, kind) as server:
        sort = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        flow = pair.host.call(lambda: socket.socket(family, sort))
        flow.connect((str(remote), server.port))
        flow.send(b"x")
        flow.recv(1)
        port = flow.getsockname()[1]

        def look(local_port: int, remote_port: int) -> str:
            return str(find_entry(protocol, local, local_port, remote, remote_port))

        def look_any(local_port: int) -> str:
            return str(find_entry(protocol, local, local_port))

        assert str(port) in pair.host.call(lambda: look(port, server.port))
        assert pair.host.call(lambda: look(port, server.port + 1)) == "None"
        # A listener's question: any peer, so the port counts where we receive on it.
        assert str(port) in pair.host.call(lambda: look_any(port))
        assert pair.host.call(lambda: look_any(port ^ 1)) == "None"
        flow.close()


def test_own_past_connection_is_no_obstacle(pair: Pair) -> None:
    """conntrack remembers a closed connection for minutes; with -p the port is ours again."""
    track_connections(pair.host)
    local, remote = ip_address(pair.host.ipv4), ip_address(pair.peer.ipv4)
    with peer(pair.peer, "udp-echo") as server:

        def talk() -> int:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
                flow.connect((pair.peer.ipv4, server.port))
                flow.send(b"x")
                flow.recv(1)
                return int(flow.getsockname()[1])

        port = pair.host.call(talk)

        def again() -> int:
            assert find_entry(Protocol.UDP, local, port, remote, server.port) is not None
            held = reserve(Protocol.UDP, local, port, remote=remote, remote_port=server.port)
            held.close()
            return held.port

        assert pair.host.call(again) == port


def test_without_net_admin_conntrack_is_not_asked(pair: Pair) -> None:
    track_connections(pair.host)
    pair.host.run(["ping", "-c1", pair.peer.ipv4])
    code = CHILD.replace('"bare"', '"bare", taken.conntrack_checked')
    with holder(pair, code, "TCP", pair.host.ipv4, wrap=ONLY_NET_RAW) as words:
        assert words[-1] == "False"
    with holder(pair, code, "TCP", pair.host.ipv4, wrap=[]) as words:
        assert words[-1] == "True"


def test_port_on_an_interface(pair: Pair) -> None:
    local = ip_address(pair.host.ipv4)
    held = pair.host.call(lambda: reserve(Protocol.TCP, local, interface="eth0"))
    # Another device's socket may have the same port: the kernel keeps them apart.
    other = pair.host.call(lambda: reserve(Protocol.TCP, local, held.port, interface="lo"))
    assert other.port == held.port
    held.close()
    other.close()
    with pytest.raises(InterfaceNotFound):
        pair.host.call(lambda: reserve(Protocol.TCP, local, interface="eth7"))


def test_reservation_is_a_fd_of_the_namespace_it_was_made_in() -> None:
    with netns_pair("nk") as pair:
        held = pair.host.call(lambda: reserve(Protocol.UDP, ip_address(pair.host.ipv4)))
        assert os.fstat(held.fileno())
        held.close()
        assert held.fileno() == -1
