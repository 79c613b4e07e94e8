"""Whose a frame is, however late the capture looks and however short the connection was."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path

from netkat.bpf.filters.flow_key import key_of
from netkat.bpf.flow_events import FlowAnnouncer, FlowEventListener, announcers
from netkat.flow import Flow, Protocol
from netkat.host.netns import run_in_netns
from tests.helpers.netns import ROOT, Pair
from tests.helpers.sniffing import Sniffing

CONNECT = [sys.executable, "-m", "netkat", "connect"]

SHORT = """
import sys, netkat
with netkat.Stack() as stack:
    for _ in range(20):
        with stack.create_connection((sys.argv[1], 99)) as conn:
            conn.sendall(b"from netkat")
    with stack.open_datagram((sys.argv[1], 9)) as datagrams:
        datagrams.send(b"a datagram")
"""


def serve(pair: Pair) -> None:
    pair.peer.popen(["ncat", "-4", "-l", "-k", "99"], stdout=subprocess.DEVNULL)
    pair.peer.wait_served(99)


def stopped(watching: Sniffing) -> None:
    """Stop the capture, and wait until it has stopped."""
    watching.child.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{watching.child.pid}/stat")
    end = time.monotonic() + 20
    while state.read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < end
        time.sleep(0.001)


def test_connections_that_are_over_before_the_capture_looks(pair: Pair) -> None:
    """The capture stands still meanwhile; the kernel's own connection is between them."""
    serve(pair)
    peer = pair.peer.ipv4
    with Sniffing(pair.host, "-i", "eth0", "-n", "dst", "host", peer, "and", "ip") as watching:
        stopped(watching)
        pair.host.run([sys.executable, "-c", SHORT, peer], cwd=ROOT)
        pair.host.run(["nc", "-N", peer, "99"], input="by the kernel")
        pair.host.run([*CONNECT, peer, "99"], input="a command", cwd=ROOT)
        watching.child.send_signal(signal.SIGCONT)
        lines = watching.end().lines
    kernels = {line.split()[2] for line in lines if "length 13" in line}
    assert len(kernels) == 1
    marked = {line.split()[2] for line in lines if line.endswith("[netkat]")}
    # 20 connections, a command's, and datagrams; a port may have been another's before.
    opened = [line for line in lines if "[S]" in line and line.endswith("[netkat]")]
    assert len(opened) >= 21 and not kernels & marked
    assert any("UDP" in line and line.endswith("[netkat]") for line in lines)
    unmarked = {line.split()[2] for line in lines if not line.endswith("[netkat]")}
    assert unmarked == kernels


def test_after_a_kill_the_kernels_answer_is_not_netkats(pair: Pair) -> None:
    """What is left of the connection is the peer's; the kernel resets it when it speaks."""
    accepted: list[socket.socket] = []
    listener = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 99)))
    waiting = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
    waiting.start()
    with listener, Sniffing(pair.host, "-i", "eth0", "-l", "-n", "tcp port 99") as watching:
        command = [*CONNECT, pair.peer.ipv4, "99"]
        child = pair.host.popen(command, stdin=subprocess.PIPE, cwd=ROOT)
        assert child.stdin is not None
        with child:
            child.stdin.write(b"from netkat")
            child.stdin.flush()
            sent = watching.wait_for("length 11")
            waiting.join(20)
            child.kill()
        time.sleep(0.1)  # what was seen of it just before counts as its own
        accepted[0].sendall(b"are you there?")
        reset = watching.wait_for("Flags [R")
        accepted[0].close()
    assert sent[0].endswith("[netkat]")
    assert f"{pair.peer.ipv4}.99: Flags [R]" in reset[0] and not reset[0].endswith("[netkat]")


def test_connections_from_before_the_capture(pair: Pair) -> None:
    serve(pair)
    child = pair.host.popen(
        [*CONNECT, "-v", pair.peer.ipv4, "99"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    with child:
        assert child.stdin is not None and child.stderr is not None
        while b"onnect" not in child.stderr.readline():
            pass
        with Sniffing(pair.host, "-i", "eth0", "-n", "dst port 99") as watching:
            stopped(watching)
            child.stdin.write(b"from netkat")
            child.stdin.close()
            assert child.wait(20) == 0
            watching.child.send_signal(signal.SIGCONT)
            lines = watching.end().lines
    assert any("length 11" in line for line in lines)
    assert all(line.endswith("[netkat]") for line in lines)


FLOW = Flow(Protocol.TCP, ip_address("10.0.0.1"), 40000, ip_address("10.0.0.2"), 80)

AS_ANOTHER_USER = """
import os
from ipaddress import ip_address
from netkat.bpf.flow_events import FlowAnnouncer
from netkat.flow import Flow, Protocol
announcer = FlowAnnouncer()
flow = Flow(Protocol.TCP, ip_address("10.0.0.1"), 40000, ip_address("10.0.0.2"), 80)
announcer.announce(flow)
os.setresuid(65534, 65534, 65534)
announcer.withdraw(flow)
"""


def test_what_is_told_is_heard_in_the_namespace_alone(pair: Pair) -> None:
    heard = run_in_netns(pair.host.name, FlowEventListener)
    elsewhere = run_in_netns(pair.peer.name, FlowEventListener)
    before = time.time_ns()
    with heard, elsewhere:
        announcer = run_in_netns(pair.host.name, FlowAnnouncer)
        with announcer:
            announcer.announce(FLOW)
            (begun,) = heard.take()
            assert begun is not None and (begun.key, begun.begins) == (key_of(FLOW), True)
            assert before <= begun.time_ns <= time.time_ns()
            assert begun.announcer in run_in_netns(pair.host.name, announcers)
            for _ in range(100):
                assert heard.is_open(begun.announcer)
        (ended,) = heard.take()
        assert ended is not None and ended == begun._replace(begins=False, time_ns=ended.time_ns)
        assert not heard.is_open(begun.announcer)
        announcer.close()
        assert not list(elsewhere.take()) and not list(heard.take())


def test_too_much_at_once_is_known_to_be_lost(pair: Pair) -> None:
    with (
        run_in_netns(pair.host.name, FlowEventListener) as listener,
        run_in_netns(pair.host.name, FlowAnnouncer) as announcer,
    ):
        for _ in range(20_000):
            announcer.announce(FLOW)
        heard = list(listener.take())
        assert heard.count(None) == 1 and len(heard) > 4000


def test_what_other_users_say_is_not_believed(pair: Pair) -> None:
    """Anybody may send to a netlink group."""
    with run_in_netns(pair.host.name, FlowEventListener) as listener:
        pair.host.run([sys.executable, "-c", AS_ANOTHER_USER], cwd=ROOT)
        (news,) = listener.take()
        assert news is not None and news.begins
