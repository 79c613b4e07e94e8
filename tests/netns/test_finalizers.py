"""Connections that are lost in reference cycles: no deadlock, no leak, no text at exit."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer
from tests.repo import tree

STORM = """
import faulthandler, gc, os, random, socket, sys, threading, time
import netkat
from netkat.stack import live_handles

faulthandler.dump_traceback_later(90, exit=True)
HOST, PORT, OWN = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def facts():
    "Open handles of the library, and descriptors."
    return live_handles(), len(os.listdir("/proc/self/fd"))

def lose(conn):
    "The last reference goes away with a cycle: only the garbage collector finds it."
    cycle = [conn]
    cycle.append(cycle)

def connect(number):
    conn = stack.create_connection((HOST, PORT), 20)
    conn.sendall(b"x")
    assert conn.recv(1) == b"x"
    if number % 3 == 0:
        conn.abort()
    lose(conn)

def accept(number):
    conn, _ = listener.accept()
    conn.sendall(b"y")
    lose(conn)

def send_datagram(number):
    sock = stack.open_datagram(None if number % 2 else (HOST, PORT), 20)
    sock.sendto(b"z", (HOST, PORT)) if number % 2 else sock.send(b"z")
    lose(sock)

errors = []
def repeat(work):
    try:
        for number in range(40):
            work(number)
    except BaseException as error:
        errors.append(error)
        raise

chance = random.Random(1)

def collect(frame, event, argument):
    # A cycle that survives a young collection waits for an old one, at some other call.
    gc.collect(2 if chance.random() < 0.02 else 0)

with netkat.Stack() as stack:  # Go's runtime opens now what it keeps
    stack.create_connection((HOST, PORT), 20).abort()
before = facts()
stack = netkat.Stack()
listener = stack.create_server((OWN, 7301))
listener.settimeout(20)
gc.freeze()
threading.setprofile(collect)
sys.setprofile(collect)
works = connect, connect, send_datagram, accept
threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
sys.setprofile(None)
threading.setprofile(None)
gc.unfreeze()
assert not errors, errors
gc.collect()
handles = 2  # the stack and its listener
end = time.monotonic() + 15
while live_handles() > handles and time.monotonic() < end:
    time.sleep(0.01)
assert live_handles() == handles, "connections that were lost are still open"
listener.close()
stack.close()
assert facts() == before
print("done", flush=True)
"""

CLIENTS = """
import contextlib, socket, sys
for _ in range(40):
    # A connection that is lost at once is reset, perhaps before connect() returns.
    with contextlib.suppress(ConnectionResetError):
        with socket.create_connection((sys.argv[1], 7301), 30) as sock:
            while sock.recv(100):
                pass
"""


def test_finalizers_run_at_every_call_without_deadlock_or_leak(pair: Pair) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with peer(pair.peer, "tcp-echo") as server:
        argv = [sys.executable, "-c", STORM, pair.peer.ipv4, str(server.port), pair.host.ipv4]
        running = pair.host.popen(argv, cwd=ROOT, **pipes)
        assert running.stdout is not None
        first = running.stdout.readline()
        clients = pair.peer.popen(
            [sys.executable, "-c", CLIENTS, pair.host.ipv4], stderr=subprocess.DEVNULL
        )
        try:
            out, err = running.communicate(timeout=120)
        finally:
            clients.kill()
            clients.wait()
        assert (first, out, err) == ("ready\n", "done\n", "")
        assert running.returncode == 0


EXIT = """
import subprocess, sys, time
import netkat
HOST, PORT, OWN_STACK, FAILED = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
stack = netkat.Stack() if OWN_STACK == "own" else netkat
conn = stack.create_connection((HOST, PORT), 10)
cycle = [conn]
cycle.append(cycle)
listener = stack.create_server((conn.getsockname()[0], 7302))
if FAILED == "failed":
    subprocess.run(["ip", "link", "delete", "eth0"], check=True)
    try:
        conn.recv(1)
    except OSError:
        pass
"""


@pytest.mark.parametrize("failed", ["failed", "working"])
@pytest.mark.parametrize("stack", ["own", "default"])
def test_exit_with_open_connections_prints_nothing(pair: Pair, stack: str, failed: str) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        argv = [sys.executable, "-c", EXIT, pair.peer.ipv4, str(server.port), stack, failed]
        done = pair.host.run(argv, cwd=ROOT, timeout=30, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        if failed == "working":
            assert server.event("failed")["error"] == "ConnectionResetError"


def test_every_finalizer_only_queues_work() -> None:
    """One condition and one call of the name that its default argument binds."""
    wrong = [
        f"{path}:{node.lineno}"
        for path in tree.files("netkat/**/*.py")
        for node in ast.walk(tree.syntax(path))
        if isinstance(node, ast.FunctionDef) and node.name == "__del__" and not queues(node)
    ]
    assert wrong == []


def queues(finalizer: ast.FunctionDef) -> bool:
    """True where the calls are getattr, hasattr and the queue's."""
    called = {
        node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        for node in ast.walk(finalizer)
        if isinstance(node, ast.Call)
    }
    return "finalize" in called and called <= {"finalize", "getattr", "hasattr"}
