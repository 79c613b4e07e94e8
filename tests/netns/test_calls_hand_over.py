"""When a call returns, the segments that it implies have been handed to the kernel.

A program calls, and kills itself as soon as the call returns: what is still in the process never
leaves. A capture at the other end must have the segments. In half of the cases another connection
of the same stack is busy, so that several threads of the library send.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.helpers.capture import ACK, FIN, Packet, capture
from tests.helpers.netns import ROOT, Pair, netns_pair
from tests.helpers.peers import peer

PROGRAM = """
import os, signal, sys, threading, time
import netkat

call, host, tcp, sink, udp, other = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
stack = netkat.Stack()


def connect(port=tcp):
    return stack.create_connection((host, port), timeout=20)


def exchange(conn, size):
    conn.sendall(b"e" * size)
    while size:
        size -= len(conn.recv(size))


def keep_busy(conn):
    while True:
        exchange(conn, 1 << 16)


if other:
    busy = connect(other)
    exchange(busy, 1)
    threading.Thread(target=keep_busy, args=(busy,), daemon=True).start()
if call.startswith("datagram"):
    conn = stack.open_datagram((host, udp), timeout=20)
    conn.send(b"e")
    conn.recv()  # the next hop is known then
    conn.send(b"last")
    if call == "datagram, close":
        conn.close()
elif call == "sendall at length":
    conn = connect(sink)
    while conn.info().cwnd * conn.info().mss < 400_000:
        conn.sendall(b"e" * (1 << 20))
    while conn.info().unacked:
        time.sleep(0.001)
    conn.sendall(bytes(300_000))
else:
    for _ in range(3):
        connect().close()
    conn = connect()
    if call != "connect":
        exchange(conn, 1)
    if call == "close":
        conn.close()
    if call == "sendall in the initial window":
        conn.sendall(bytes(10_000))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    with netns_pair("nkc") as pair:
        pair.peer.sysctl("net.ipv4.tcp_rmem", "4096 4194304 8388608")
        yield pair


def has_left(call: str, packets: list[Packet], port: int) -> bool:
    """Whether the segments that the call implies are among those of the last flow to a port."""
    sent = [packet for packet in packets if packet.destination_port == port]
    if not sent:
        return False
    last = [packet for packet in sent if packet.source_port == sent[-1].source_port]
    zeros = sum(packet.payload.count(0) for packet in last)
    match call:
        case "connect":
            return any(packet.flags == ACK for packet in last)
        case "close":
            return any(packet.flags & FIN for packet in last)
        case "sendall in the initial window":
            return zeros == 10_000
        case "sendall at length":
            return zeros == 300_000
    return any(packet.payload == b"last" for packet in last)


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "busy"])
@pytest.mark.parametrize(
    "call",
    [
        "connect",
        "close",
        "sendall in the initial window",
        "sendall at length",
        "datagram",
        "datagram, close",
    ],
)
def test_a_returned_call_has_handed_over_its_segments(ends: Pair, call: str, busy: bool) -> None:
    with (
        peer(ends.peer, "tcp-echo") as tcp,
        peer(ends.peer, "tcp-sink") as sink,
        peer(ends.peer, "udp-echo") as udp,
        peer(ends.peer, "tcp-echo") as other,
    ):
        ports = tcp.port, sink.port, udp.port
        port = ports[2 if call.startswith("datagram") else call == "sendall at length"]
        argv = [sys.executable, "-c", PROGRAM, call, ends.peer.ipv4, *ports]
        argv.append(other.port if busy else 0)
        for _ in range(4):
            with capture(ends.peer, expression=f"dst port {port}") as seen:
                program = ends.host.popen([*map(str, argv)], cwd=ROOT, stderr=subprocess.PIPE)
                _, said = program.communicate(timeout=60)
                assert program.returncode == -signal.SIGKILL, said
                deadline = time.monotonic() + 2
                while not has_left(call, seen.so_far(), port):
                    assert time.monotonic() < deadline, [
                        (p.source_port, p.flags, len(p.payload)) for p in seen.so_far()[-12:]
                    ]
