"""-M, -m, -T, -I, -O, -b and -W, seen at the other end."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.capture import PSH, TCP, capture
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer
from tests.netns.test_listen_cli import Listener

NETKAT = [sys.executable, "-m", "netkat"]
IP_RECVTOS, IP_RECVTTL = 13, 12


def run(pair: Pair, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return pair.host.run([*NETKAT, *map(str, words)], cwd=ROOT, check=False, **options)


def received(pair: Pair, version: int, send: Callable[[int], object]) -> tuple[int, int]:
    """TTL and TOS of the datagram that ``send`` sends to the port it is given."""
    six = version == 6
    family = socket.AF_INET6 if six else socket.AF_INET
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    wanted = (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS) if six else (IP_RECVTTL, IP_RECVTOS)
    with pair.peer.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        for option in wanted:
            sock.setsockopt(level, option, 1)
        sock.bind(("", 0))
        sock.settimeout(20)
        send(sock.getsockname()[1])
        _, more, _, _ = sock.recvmsg(100, 200)
    told = {kind: int.from_bytes(data[:4], "little") for _, kind, data in more}
    if six:
        return told[socket.IPV6_HOPLIMIT], told[socket.IPV6_TCLASS]
    return told[socket.IP_TTL], told[socket.IP_TOS]


@pytest.mark.parametrize("kernel", [(), ("--kernel",)], ids=["netkat", "kernel"])
@pytest.mark.parametrize("version", [4, 6])
def test_ttl_and_type_of_service(pair: Pair, version: int, kernel: tuple[str, ...]) -> None:
    address = pair.peer.address(version)
    words = ["-u", "-M", "7", "-T", "af21", *kernel, address]
    assert received(pair, version, lambda port: run(pair, *words, port, input="x")) == (7, 0x48)


def test_a_packet_with_too_low_a_ttl_is_not_seen(pair: Pair) -> None:
    """The peer answers with TTL 64, as a neighbour that is no neighbour would."""
    with peer(pair.peer, "udp-echo") as echo:
        assert (
            run(pair, "-uz", "-m", 64, pair.peer.ipv4, echo.port, "--require-reply").returncode == 0
        )
        words = ["-uz", "-w", "0.3", "-m", 65, "--require-reply"]
        assert run(pair, *words, pair.peer.ipv4, echo.port).returncode == 1
    with peer(pair.peer, "tcp-echo") as server:
        done = run(pair, "-m", 65, "-w", "1", pair.peer.ipv4, server.port)
        assert done.returncode == 1
        assert "came with ttl 64: too low" in done.stderr
        assert "next: -m" in done.stderr


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_a_listener_takes_near_peers_alone(pair: Pair, version: int, udp: bool) -> None:
    """Who comes with TTL 64 is nobody; who comes with 255 after it is the first peer."""
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    host = (pair.host.address(version), 9999)
    child = Listener(pair, *(["-u", "-W", 1] if udp else []), "-m", 255, *host)
    with pair.peer.call(lambda: socket.socket(family, kind)) as far:
        if udp:
            far.sendto(b"far", host)
        else:
            far.settimeout(0.3)
            with pytest.raises(TimeoutError):
                far.connect(host)
    # By the namespace: of a socket that is closed the kernel answers with its default.
    pair.peer.sysctl("net.ipv4.ip_default_ttl", 255)
    pair.peer.sysctl("net.ipv6.conf.eth0.hop_limit", 255)
    with pair.peer.call(lambda: socket.socket(family, kind)) as near:
        near.settimeout(20)
        near.connect(host)
        near.send(b"near")
    code, out, _ = child.end()
    assert (code, out) == (0, b"near")


def test_a_small_receive_buffer_is_a_small_window(pair: Pair) -> None:
    windows = []
    for words in ([], ["-I", "8192"]):
        tap = pair.peer.call(_tcp_tap)
        with tap, peer(pair.peer, "tcp-echo") as server:
            assert run(pair, *words, pair.peer.ipv4, server.port, input="x").returncode == 0
            while (frame := tap.recv(2000))[33] & 0x3F != 0x02:
                pass
            windows.append(struct.unpack_from("!H", frame, 34)[0])
    assert windows[1] <= 8192 < windows[0]


def _tcp_tap() -> socket.socket:
    """IPv4 packets that come in, without their Ethernet header."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    tap.bind(("eth0", 0x0800))
    tap.settimeout(20)
    return tap


def test_a_send_buffer_still_sends_all(pair: Pair) -> None:
    data = "0123456789" * 30_000
    with peer(pair.peer, "tcp-sink") as server:
        assert run(pair, "-O", "4096", pair.peer.ipv4, server.port, input=data).returncode == 0
        assert server.event("closed")["bytes"] == len(data)


@pytest.mark.parametrize("address", ["10.99.0.255", "255.255.255.255"])
def test_broadcast(pair: Pair, address: str) -> None:
    """To all hosts, and only where it is asked for."""
    pair.host.ip("route add 255.255.255.255/32 dev eth0")
    done = run(pair, "-u", address, 9999, input="x")
    assert done.returncode == 2
    assert f"{address} is a broadcast address" in done.stderr
    assert "next: -b" in done.stderr
    with pair.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("", 9999))
        sock.settimeout(20)
        done = run(pair, "-ub", "-i", "eth0", address, 9999, input="to all")
        assert done.returncode == 0, done.stderr
        assert sock.recvfrom(100)[0] == b"to all"
    assert run(pair, address, 80).returncode == 2


@pytest.mark.parametrize("listening", [False, True])
def test_so_many_datagrams(pair: Pair, listening: bool) -> None:
    """-W 3 ends with the third, and what came behind it is not shown."""

    def talk(sock: socket.socket, to: Any) -> None:
        for number in range(5):
            sock.sendto(b"%d\n" % number, to)

    with pair.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(20)
        if listening:
            child = Listener(pair, "-u", "-W", 3, pair.host.ipv4, 9999)
            talk(sock, (pair.host.ipv4, 9999))
            code, out, _ = child.end()
            assert (code, out) == (0, b"0\n1\n2\n")
            return
        sock.bind(("", 9998))
        answering = threading.Thread(target=lambda: talk(sock, sock.recvfrom(10)[1]))
        answering.start()
        words = ["-u", "-W", "3", "-q", "-1", pair.peer.ipv4, "9998"]
        done = run(pair, *words, input="go")
        answering.join(20)
        assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


@pytest.mark.parametrize("more", [("-k",), ("--reply", "echo")], ids=" ".join)
def test_so_many_datagrams_of_all_peers(pair: Pair, more: tuple[str, ...]) -> None:
    listener = Listener(pair, "-u", "-W", 2, *more, pair.host.ipv4, 9999)
    with pair.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        for data in (b"one ", b"two ", b"three "):
            sock.sendto(data, (pair.host.ipv4, 9999))
        code, out, _ = listener.end()
    assert (code, out) == (0, b"" if "--reply" in more else b"one two ")


@pytest.mark.parametrize("version", [4, 6])
def test_a_listener_sends_as_asked(pair: Pair, version: int) -> None:
    host = pair.host.address(version)
    listener = Listener(pair, "-T", "cs1", "-M", 78, "--reply", "echo", host, 9999)
    with capture(pair.peer) as seen:
        done = pair.peer.run(["nc", "-N", host, "9999"], input="hello")
        assert (done.stdout, listener.end()[0]) == ("hello", 0)
    ours = [packet for packet in seen.packets if packet.source == pair.host.ip_address(version)]
    assert {packet.ttl for packet in ours if packet.protocol == TCP} == {78}
    shift = 0 if version == 4 else 4
    service = {
        int.from_bytes(one.frame[14:16], "big") >> shift & 0xFF for one in ours if one.flags & PSH
    }
    assert service == {0x20}
