"""What the host must not notice of a connection, and what must not notice netkat."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.helpers.capture import Packet, capture
from tests.helpers.netns import ROOT, Namespace, Pair, namespace
from tests.helpers.peers import pattern, peer
from tests.helpers.rules import connections, track_connections
from tests.helpers.socket_lb import run_inside, socket_lb

IPVERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
SIZE = 200_000


def netkat(*arguments: str) -> list[str]:
    """The command as a user would call it."""
    return [sys.executable, "-m", "netkat", *arguments]


def exchange(pair: Pair, address: str, port: int, *options: str, size: int = SIZE) -> None:
    """An echo of ``size`` bytes through netkat, compared."""
    data = pattern(size)
    argv = netkat(*options, address, str(port))
    done = pair.host.run(argv, input=data, text=False, cwd=ROOT)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()  # type: ignore[arg-type]


def answered_by_kernel(packets: list[Packet], pair: Pair) -> list[Packet]:
    """RSTs and ICMP errors that came from netkat's host."""
    own = {str(pair.host.ip_address(4)), str(pair.host.ip_address(6))}
    return [p for p in packets if str(p.source) in own and (p.rst or p.icmp_error)]


@IPVERSIONS
@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf", "socket"])
def test_kernel_answers_nothing(pair: Pair, version: int, step: str) -> None:
    """No RST and no ICMP error leaves the host, seen from the peer."""
    with peer(pair.peer, "tcp-echo") as tcp, peer(pair.peer, "udp-echo") as udp:
        with capture(pair.peer) as seen:
            address = pair.peer.address(version)
            exchange(pair, address, tcp.port, "--guard", step)
            argv = netkat("-u", "--guard", step, address, str(udp.port))
            done = pair.host.run(argv, input=b"datagram", text=False, cwd=ROOT)
            assert done.stdout == b"datagram"  # type: ignore[comparison-overlap]
        assert any(p.syn and p.destination_port == tcp.port for p in seen.packets)
        assert any(p.destination_port == udp.port for p in seen.packets)
        assert answered_by_kernel(seen.packets, pair) == []


@IPVERSIONS
def test_no_conntrack_entry(pair: Pair, version: int) -> None:
    """conntrack looks at everything here, and never sees the flow."""
    track_connections(pair.host)
    address = pair.peer.address(version)
    with (
        peer(pair.peer, "tcp-echo") as server,
        socket_in(pair.host, address, server.port) as kernel,
    ):
        kernel.sendall(b"k")
        assert kernel.recv(1) == b"k"
        assert f"dport={server.port}" in connections(pair.host)
        before = connections(pair.host).count(f"dport={server.port}")
        exchange(pair, address, server.port)
        assert connections(pair.host).count(f"dport={server.port}") == before


@IPVERSIONS
def test_kernel_connection_to_same_server_lives(pair: Pair, version: int) -> None:
    """The host's own connection to the very same address and port goes on throughout."""
    with peer(pair.peer, "tcp-echo") as server:
        address = pair.peer.address(version)
        with socket_in(pair.host, address, server.port) as kernel:
            for step in ("tcx", "clsact", "cbpf", "socket"):
                exchange(pair, address, server.port, "--guard", step)
                kernel.sendall(b"still here")
                assert kernel.recv(64) == b"still here"


def test_two_side_by_side(pair: Pair) -> None:
    """Two at once in one namespace, to the same server, each with its own bytes."""
    with peer(pair.peer, "tcp-echo") as server:
        blobs = [pattern(2_000_000, seed) for seed in ("one", "two")]
        running = [
            pair.host.popen(
                netkat(pair.peer.ipv4, str(server.port)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            for _ in blobs
        ]
        for child, blob in zip(running, blobs, strict=True):
            feed(child, blob)
        for child, blob in zip(running, blobs, strict=True):
            out, _ = child.communicate(timeout=20)
            assert child.returncode == 0
            assert hashlib.sha256(out).digest() == hashlib.sha256(blob).digest()


def test_refused_is_one(pair: Pair) -> None:
    """A closed port: exit 1, one line that says who answered how."""
    argv = netkat("-v", pair.peer.ipv4, "9")
    done = pair.host.run(argv, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "Connection refused [RST from 10.99.0.2 ttl 64]" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf", "socket"])
def test_sigkill_leaves_nothing(pair: Pair, step: str) -> None:
    """Killed in the middle: no tcx program, no filter, no qdisc, no socket is left behind."""
    with peer(pair.peer, "tcp-echo") as server:
        child = pair.host.popen(
            netkat("--guard", step, pair.peer.ipv4, str(server.port)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        assert child.stdout.read(1) == b"x"
        assert attached(pair.host) != {"socket": [], "tc": [], "qdisc": []}
        child.send_signal(signal.SIGKILL)
        child.wait()
        until(lambda: attached(pair.host) == {"socket": [], "tc": [], "qdisc": []})
        until(lambda: pair.host.run(["ss", "-Hltn"]).stdout.strip() == "")


def attached(space: Namespace) -> dict[str, list[str]]:
    """What somebody could have left: packet sockets, ingress filters, a clsact qdisc."""
    tc = space.run(["tc", "filter", "show", "dev", "eth0", "ingress"], check=False).stdout
    qdiscs = space.run(["tc", "qdisc", "show", "dev", "eth0"]).stdout
    sockets = space.run(["ss", "-H0"]).stdout
    return {
        "socket": sockets.split("\n")[:-1],
        "tc": tc.split("\n")[:-1],
        "qdisc": [line for line in qdiscs.split("\n") if "clsact" in line],
    }


def test_masqueraded_flow_lives_on(pair: Pair) -> None:
    """A pod's flow, masqueraded onto the host's address, holds its port without any socket."""
    with namespace("nkpod", "pod") as pod, peer(pair.peer, "tcp-echo", port=4000) as server:
        port = pod_flow_port(pair, pod)
        with socket_in(pod, pair.peer.ipv4, server.port, source_port=port) as flow:
            flow.sendall(b"first")
            assert flow.recv(64) == b"first"
            argv = netkat("-p", str(port), pair.peer.ipv4, str(server.port))
            done = pair.host.run(argv, input="x", check=False, cwd=ROOT)
            assert done.returncode == 2, done
            assert "10.77.0.2" in done.stderr
            assert len(done.stderr.splitlines()) <= 2
            exchange(pair, pair.peer.ipv4, server.port)
            flow.sendall(b"second")
            assert flow.recv(64) == b"second"


def pod_flow_port(pair: Pair, pod: Namespace) -> int:
    """A pod behind the host, whose connections leave with the host's address."""
    subprocess.run(
        [
            "ip",
            "link",
            "add",
            "eth0",
            "netns",
            pod.name,
            "type",
            "veth",
            "peer",
            "name",
            "vpod",
            "netns",
            pair.host.name,
        ],
        check=True,
    )
    pod.ip("addr add 10.77.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.77.0.1")
    pair.host.ip("addr add 10.77.0.1/24 dev vpod", "link set vpod up")
    from tests.helpers.rules import masquerade

    masquerade(pair.host, "eth0")
    return 41234


def socket_in(space: Namespace, address: str, port: int, *, source_port: int = 0) -> socket.socket:
    """A kernel connection from inside a namespace."""
    source = ("", source_port) if source_port else None

    def connect() -> socket.socket:
        return socket.create_connection((address, port), timeout=5, source_address=source)

    return space.call(connect)


def feed(child: subprocess.Popen[bytes], data: bytes) -> None:
    """Write all of it and end, on a thread of its own."""
    import threading

    # Taken away before the thread begins: communicate() looks at it, too.
    stdin, child.stdin = child.stdin, None
    assert stdin is not None

    def write() -> None:
        with stdin:
            stdin.write(data)

    threading.Thread(target=write, daemon=True).start()


def until(condition: Callable[[], bool], timeout: float = 2.0) -> None:
    """Wait for a condition, a little at a time."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.02)


@IPVERSIONS
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_socket_load_balancer_catches_nc_alone(pair: Pair, version: int, protocol: str) -> None:
    """A cgroup program rewrites nc's destination, as Cilium's does, and never sees netkat's."""
    with (
        peer(pair.peer, f"{protocol}-echo") as asked,
        peer(pair.peer, f"{protocol}-echo") as elsewhere,
        socket_lb(
            IPv4Address(pair.peer.ipv4), IPv6Address(pair.peer.ipv6), elsewhere.port
        ) as cgroup,
    ):
        arrived = "accepted" if protocol == "tcp" else "datagram"
        target = [pair.peer.address(version), str(asked.port)]
        udp = ["-u"] if protocol == "udp" else []
        run_inside(cgroup, pair.host, ["nc", "-w1", *udp, *target], "x")
        assert elsewhere.event(arrived)
        assert asked.pending(arrived) == []
        done = run_inside(cgroup, pair.host, netkat(*udp, *target), "x")
        assert done.stdout == "x"
        assert asked.event(arrived)
        assert elsewhere.pending(arrived) == []
