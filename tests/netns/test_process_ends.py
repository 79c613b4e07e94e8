"""What the end of a program, of a thread or of an object means to its connections."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

import netkat
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import Peer, pattern, peer
from tests.helpers.waiting import wait_until

BEGIN = """
import os, signal, socket, sys, threading, time
import netkat
HOST, PORT = sys.argv[1], int(sys.argv[2])
conn = netkat.create_connection((HOST, PORT), timeout=10)
"""


def program(pair: Pair, code: str, server: Peer, *more: str) -> subprocess.Popen[str]:
    """A program of a user's, in the host's namespace."""
    argv = [
        sys.executable,
        "-X",
        "dev",
        "-c",
        BEGIN + code,
        pair.peer.ipv4,
        str(server.port),
        *more,
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return pair.host.popen(argv, cwd=ROOT, text=True, **pipes)


def outcome(running: subprocess.Popen[str], timeout: float = 30) -> tuple[int, str, str]:
    """Exit code, and what it said."""
    out, err = running.communicate(timeout=timeout)
    return running.returncode, out, err


@pytest.mark.parametrize("end", ["", "sys.exit()", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_program_ends_with_its_connections_open(pair: Pair, end: str) -> None:
    """Promptly and without a word of ours, the peer is told, and nothing stays."""
    code = f"""
def wait():
    try:
        conn.recv(1)
    except OSError:
        pass  # the end of the program closes it under our feet
conn.sendall(b"x")
conn.recv(1)
threading.Thread(target=wait, daemon=True).start()
{end}
"""
    with peer(pair.peer, "tcp-echo") as server:
        code_, out, err = outcome(program(pair, code, server))
        assert (code_, out) == (-signal.SIGTERM if "kill" in end else 0, "")
        assert "Traceback" not in err
        if "kill" not in end:
            assert server.event("failed")["error"] == "ConnectionResetError"
    assert pair.host.run(["ss", "-Htan"]).stdout == ""


@pytest.mark.parametrize("by", ["conn", "sock", "stream"])
def test_what_was_sent_before_the_end_arrives(pair: Pair, by: str) -> None:
    """Closed and forgotten, the last byte and the FIN still get there."""
    how = {
        "conn": "conn.sendall(data); conn.close()",
        "sock": "sock = conn.as_socket(); sock.sendall(data); sock.close()",
        "stream": "import asyncio\nasync def main():\n"
        "    reader, writer = await netkat.open_connection(HOST, PORT)\n"
        "    writer.write(data); writer.close(); await writer.wait_closed()\n"
        "conn.abort()\nasyncio.run(main())",
    }[by]
    data = pattern(3_000_000)
    code = f"from tests.helpers.peers import pattern\ndata = pattern(3_000_000)\n{how}"
    with peer(pair.peer, "tcp-sink") as server:
        code_, out, err = outcome(program(pair, code, server))
        assert (code_, out, err) == (0, "", "")
        closed = server.event("closed")
        assert closed["bytes"] == len(data)
        assert closed["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("call", ["conn.recv(1)", "conn.sendall(bytes(1 << 28))"])
def test_control_c_ends_a_wait(pair: Pair, call: str) -> None:
    code = f"""
conn.settimeout(None)
print("waiting", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with peer(pair.peer, "tcp-mute") as server:
        running = program(pair, code, server)
        assert running.stdout is not None
        assert running.stdout.readline() == "waiting\n"
        time.sleep(0.1)  # into the call, or right before it
        running.send_signal(signal.SIGINT)
        code_, out, err = outcome(running)
    # -X dev tells that the connection was left open: that is the program's own doing.
    assert "interrupted" in out or "KeyboardInterrupt" in err
    assert code_ in (0, -signal.SIGINT, 1)


def test_a_forgotten_connection_warns_and_is_reset(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server, netkat.Stack(netns=pair.host.name) as stack:
        conn = stack.create_connection((pair.peer.ipv4, server.port), 5)
        with pytest.warns(ResourceWarning, match=r"unclosed <netkat\.TcpConnection open") as warned:  # noqa: PT031
            del conn
            gc.collect()
            wait_until(lambda: len(warned) > 0)
        assert server.event("failed")["error"] == "ConnectionResetError"


FORKED = """
def child():
    "What a child may try; each must end, and say why."
    for name, call in {
        "recv": lambda: conn.recv(1),
        "send": lambda: conn.send(b"from the child"),
        "info": conn.info,
        "dial": lambda: netkat.create_connection((HOST, PORT), timeout=1),
        "listen": lambda: netkat.create_server((conn.getsockname()[0], 7200)),
        "stack": netkat.Stack,
        "use": lambda: netkat.Stack().create_connection((HOST, PORT)),
    }.items():
        try:
            call()
        except netkat.NetkatError as error:
            print(name, "forked" in str(error), error.hint.split()[0], flush=True)
    conn.close()
    conn.abort()

busy = threading.Event()
def work():
    "Locks are held now and then while the process forks."
    while not busy.is_set():
        conn.info()
threading.Thread(target=work, daemon=True).start()
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(7)   # with atexit
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
busy.set()
conn.sendall(b"the parent goes on")
assert conn.recv(100) == b"the parent goes on"
with netkat.create_connection((HOST, PORT), timeout=5) as second:
    second.sendall(b"and dials")
    assert second.recv(100) == b"and dials"
conn.close()
print("done")
"""


@pytest.mark.parametrize("guard", ["tcx", "clsact"])
def test_a_forked_child_is_refused_and_harms_nothing(pair: Pair, guard: str) -> None:
    """On clsact a child that tidied up would take its parent's filter away."""
    stack = (
        f"own = netkat.Stack(guard={guard!r})\nnetkat.create_connection = own.create_connection\n"
    )
    code = stack + "conn.close()\nconn = netkat.create_connection((HOST, PORT), timeout=5)" + FORKED
    with peer(pair.peer, "tcp-echo") as server:
        code_, out, err = outcome(program(pair, code + "own.close()", server), 60)
        assert code_ == 0, err
    lines = out.split("\n")
    assert lines[-2] == "done"
    children = lines[:-2]
    for name in ("recv", "send", "info", "dial", "listen", "stack", "use"):
        assert children.count(f"{name} True start") == 5, out


def test_a_child_that_forks_before_the_first_use_is_free(pair: Pair) -> None:
    code = """
pid = os.fork()
if pid == 0:
    conn = netkat.create_connection((HOST, PORT), timeout=10)
    conn.sendall(b"mine"); assert conn.recv(10) == b"mine"
    conn.close()
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with peer(pair.peer, "tcp-echo") as server:
        begin = BEGIN.partition("conn =")[0]
        argv = [sys.executable, "-c", begin + code, pair.peer.ipv4, str(server.port)]
        assert pair.host.run(argv, cwd=ROOT).stdout == "0\n"


def test_a_subinterpreter_is_refused(pair: Pair) -> None:
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inner = interpreters.create()
interpreters.run_string(inner, '''
import sys
sys.path[:0] = %r
import netkat
try:
    netkat.Stack()
except netkat.NetkatError as error:
    print(error)
''' % (sys.path,))
interpreters.destroy(inner)
"""
    done = pair.host.run([sys.executable, "-c", "import sys" + code], cwd=ROOT)
    assert done.stdout == "netkat cannot run in a subinterpreter\n", done.stderr
    assert os.environ  # this interpreter is the main one
