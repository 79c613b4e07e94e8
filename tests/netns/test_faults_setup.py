"""Faults of this host, of the installation and of open connections, by their own names."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import netkat
from netkat.bpf.guard.tcx import FIRST, TcxLink
from netkat.commands.relay.drain import AckWaiter
from netkat.engine.bypass import Bypass
from netkat.errors import (
    ConnectionReset,
    GuardFailed,
    InterfaceGone,
    NameNotFound,
    NamespaceNotFound,
    TimedOut,
    Undelivered,
)
from netkat.flow import Protocol
from netkat.host.capability_hints import capability_hint
from netkat.host.netns import run_in_netns
from tests.helpers.fault_lab import NETKAT, Lab, drop, egress_nft, hairpin
from tests.helpers.guard_lab import PASS, witness
from tests.helpers.netns import ROOT, Namespace, Pair, netns_pair
from tests.helpers.peers import peer

PROGRAM = str(ROOT / "netkat" / "__main__.py")

ASK = """
import json, sys, netkat
try:
    netkat.create_connection((sys.argv[1], 81), 2)
except netkat.NetkatError as error:
    fields = {name: str(value) for name, value in vars(error).items()}
    print(json.dumps({**fields, "type": type(error).__name__, "hint": error.hint}))
"""

NO_BPF = """
import sys
from netkat.bpf import bpf_syscall as calls
# The kernel answers an unknown call with ENOSYS, as one without bpf(2) does.
calls.SYSCALL_NUMBER = dict.fromkeys(calls.SYSCALL_NUMBER, 0xFFFF)
"""
THEN_RUN = "\nfrom netkat.cli.app import main\nmain()\n"


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """The Go runtime keeps descriptors of its own from its first moment on."""
    with netns_pair("nkf") as ends, peer(ends.peer, "tcp-echo") as server:
        address = (ends.peer.ipv4, server.port)

        def once() -> None:
            with netkat.Stack() as stack, stack.create_connection(address, 2):
                pass

        ends.host.call(once)


def run(space: Namespace, *words: object, prefix: tuple[str, ...] = (), **options: Any) -> Any:
    """netkat in a namespace: exit code and stderr's lines."""
    options.setdefault("cwd", ROOT)
    done = space.run([*prefix, *NETKAT, *map(str, words)], check=False, **options)
    return done.returncode, done.stderr.splitlines()


def ask(space: Namespace, address: str, **options: Any) -> Any:
    """The exception that a program of its own gets, as a dictionary."""
    options.setdefault("cwd", ROOT)
    prefix = options.pop("prefix", ())
    done = space.run([*prefix, sys.executable, "-c", ASK, address], **options)
    return json.loads(done.stdout)


def without(*capabilities: str) -> tuple[str, ...]:
    """Root without some capabilities."""
    lost = ",".join(f"-{name}" for name in capabilities)
    return ("setpriv", "--inh-caps", lost, "--bounding-set", lost)


@pytest.mark.parametrize("container", [False, True])
def test_missing_capability(pair: Pair, container: bool) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"} if container else {}
    prefix = without("net_raw")
    code, lines = run(pair.host, pair.peer.ipv4, 81, prefix=prefix, env=environment)
    assert code == 2
    assert lines[0] == "netkat: opening a packet socket on eth0 requires CAP_NET_RAW"
    if container:
        assert lines[1].startswith(f"  next: kubectl debug -it {os.uname().nodename} --image=")
        assert lines[1].endswith(f"--profile=netadmin -- netkat {pair.peer.ipv4} 81")
    else:
        line = capability_hint([PROGRAM, pair.peer.ipv4, "81"])
        assert lines[1:] == [f"  next: {line}"]
    error = ask(pair.host, pair.peer.ipv4, prefix=prefix)
    assert (error["type"], error["capability"]) == ("MissingCapability", "CAP_NET_RAW")
    assert "sudo" in error["hint"] or "kubectl debug" in error["hint"]


def test_missing_capability_for_a_low_port_and_a_step(pair: Pair) -> None:
    target = (pair.peer.ipv4, 81)
    code, lines = run(pair.host, "-p", 80, *target, prefix=without("net_bind_service"))
    assert (code, lines[0]) == (
        2,
        "netkat: port 80 is privileged: binding requires CAP_NET_BIND_SERVICE",
    )
    code, lines = run(pair.host, "--guard", "tcx", *target, prefix=without("bpf", "sys_admin"))
    assert (code, lines[0]) == (2, "netkat: loading the eBPF guard requires CAP_BPF")
    assert "--guard tcx" in lines[1]


def test_an_egress_hook_that_may_not_be_looked_at(pair: Pair) -> None:
    with ExitStack() as undo:
        egress_nft(Lab(pair, 4, undo))
    lost = without("net_admin", "bpf", "sys_admin")
    code, lines = run(pair.host, "-w", "1.3", pair.peer.ipv4, 81, prefix=lost)
    assert code == 1
    assert "of our frames on the way out of eth0 [ENOBUFS; " in lines[0]
    assert lines[0].endswith("nft chains cannot be looked at without CAP_NET_ADMIN]")
    error = ask(pair.host, pair.peer.ipv4, prefix=lost)
    assert (error["type"], error["hook"]) == ("EgressRefused", "None")
    assert "nft chains" in error["unseen"] and int(error["count"]) > 0


def test_interface_deleted_in_the_middle(pair: Pair) -> None:
    with peer(pair.peer, "tcp-mute") as server:
        pipe = subprocess.PIPE
        argv = [*NETKAT, pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
        server.event("accepted")

        def talk() -> None:
            with netkat.Stack() as stack:
                conn = stack.create_connection((pair.peer.ipv4, server.port), 3)
                pair.host.ip("link del eth0")
                conn.recv(1)

        with pytest.raises(InterfaceGone, match="eth0 was deleted while it was in use") as caught:
            pair.host.call(talk)
        assert caught.value.interface == "eth0"
        _, stderr = child.communicate(timeout=5)
    lines = stderr.decode().splitlines()
    assert child.returncode == 2
    assert lines == [f"netkat: {caught.value}", f"  next: {caught.value.hint}"]


@pytest.mark.parametrize("where", ["nosuch", "/nosuch/net", 4194305])
def test_no_such_namespace(where: str | int) -> None:
    with pytest.raises(NamespaceNotFound, match=r"no (network namespace|such process)") as caught:
        run_in_netns(where, lambda: None)
    assert caught.value.namespace == str(where)
    assert caught.value.hint and "ip netns" in caught.value.hint
    done = subprocess.run(
        [*NETKAT, "--netns", str(where), "10.99.0.2", "81"],
        capture_output=True, text=True, check=False, timeout=20, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"netkat: {caught.value}")


def test_a_kernel_too_old_for_a_step(pair: Pair) -> None:
    def netkat_on_old_kernel(*words: str) -> tuple[int, list[str]]:
        argv = [sys.executable, "-c", NO_BPF + THEN_RUN, *words]
        done = pair.host.run(argv, check=False, cwd=ROOT)
        return done.returncode, done.stderr.splitlines()

    target = (pair.peer.ipv4, "81")
    code, lines = netkat_on_old_kernel("--guard", "tcx", *target)
    assert (code, lines[0]) == (2, "netkat: loading the eBPF guard requires Linux 4.18")
    assert lines[1].startswith("  next: omit --guard")
    code, lines = netkat_on_old_kernel("-v", *target)
    assert code == 1
    assert any("cbpf: classic BPF" in one and "unavailable: tcx (" in one for one in lines)
    by_name = ASK.replace("create_connection", "Stack(guard='tcx').create_connection")
    program = NO_BPF + by_name.replace("sys.argv[1]", repr(pair.peer.ipv4))
    error = json.loads(pair.host.run_python(program))
    assert (error["type"], error["needs"]) == ("KernelTooOld", "Linux 4.18")
    assert error["feature"] == "eBPF guard"


@pytest.mark.parametrize("fault", ["missing", "mismatch", "broken"])
def test_the_library(pair: Pair, tmp_path: Path, fault: str) -> None:
    shutil.copytree(ROOT / "netkat", tmp_path / "netkat")
    library = tmp_path / "netkat" / "stack" / "libgostack.so"
    library.unlink()
    words, kind = "libgostack.so is not built", "LibraryMissing"
    if fault == "mismatch":
        source = tmp_path / "other.c"
        source.write_text("int gs_abi(void) { return 99; }\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        words, kind = "libgostack.so speaks ABI 99, this netkat speaks ", "LibraryMismatch"
    elif fault == "broken":
        library.write_bytes(b"no library")
        words, kind = "libgostack.so cannot be loaded: ", "LibraryMismatch"
    options: dict[str, Any] = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path)}}
    code, lines = run(pair.host, pair.peer.ipv4, 81, **options)
    assert code == 2
    assert lines[0].startswith(f"netkat: {words}")
    assert lines[1:] == ["  next: python3 build.py build"]
    error = ask(pair.host, pair.peer.ipv4, **options)
    assert error["type"] == kind and error["hint"] == "python3 build.py build"


def test_a_name_that_nobody_knows(pair: Pair) -> None:
    code, lines = run(pair.host, "-w", "3", "no-such-host.invalid", 81)
    assert code == 2
    assert lines[0].startswith("netkat: no-such-host.invalid: ")
    assert len(lines) == 2 and lines[1].startswith("  next: ")
    code, lines = run(pair.host, pair.peer.ipv4, "nosuchservice")
    assert (code, lines[0].split(":")[1]) == (2, " nosuchservice/tcp")
    with pytest.raises(NameNotFound) as caught:
        pair.host.call(lambda: netkat.create_connection(("no-such-host.invalid", 81), 3))
    assert caught.value.hint


def test_reset_after_so_many_bytes(pair: Pair) -> None:
    with peer(pair.peer, "tcp-reset", size=5) as server:

        def talk() -> None:
            with netkat.Stack() as stack:
                conn = stack.create_connection((pair.peer.ipv4, server.port), 3)
                conn.sendall(b"hello")
                conn.recv(1)

        with pytest.raises(ConnectionReset) as caught:
            pair.host.call(talk)
        assert (caught.value.received, caught.value.sent) == (0, 5)
        code, lines = run(pair.host, pair.peer.ipv4, server.port, input="hello")
    words = "Connection reset by peer [RST from 10.99.0.2 ttl 64, after 0 bytes received and 5 sent"
    assert code == 1
    assert lines[0].startswith(f"netkat: 10.99.0.2 port {server.port} (tcp): {words}")
    assert str(caught.value).startswith(words)
    assert len(lines) == 2 and "the peer" in lines[1]


def test_closed_after_our_end_of_input_without_a_byte(pair: Pair) -> None:
    """A server that drops clients which half-close (Envoy). No failure: an upload ends so, too."""
    with peer(pair.peer, "tcp-sink") as server:
        code, lines = run(pair.host, pair.peer.ipv4, server.port, input="GET / HTTP/1.0\r\n\r\n")
        assert code == 0
        closed = "peer closed after EOF on stdin without sending data [18 bytes sent]"
        assert lines[0] == f"netkat: 10.99.0.2 port {server.port} (tcp): {closed}"
        assert "half-closes" in lines[1] and len(lines) == 2
        code, lines = run(pair.host, pair.peer.ipv4, server.port, input="x" * 100_000)
        assert (code, lines) == (0, [])


def test_a_guard_behind_somebody_elses_program(pair: Pair) -> None:
    index = pair.host.call(lambda: socket.if_nametoindex("eth0"))
    with peer(pair.peer, "tcp-echo") as server, witness(PASS, "cil_from_netdev") as theirs:
        target = (ip_address(pair.peer.ipv4), server.port)

        def talk() -> None:
            with Bypass() as bypass:
                attempt = bypass.prepare(*target, protocol=Protocol.TCP)
                bypass.load()
                link = TcxLink(theirs.program.fd, index, FIRST)
                try:
                    bypass.dial(attempt, timeout=3)
                finally:
                    link.close()

        with pytest.raises(GuardFailed) as caught:
            pair.host.call(talk)
        name = f"tcx program {theirs.program.id()} cil_from_netdev on eth0's tcx ingress"
        assert caught.value.program == f"{name}, before netkat"
        assert str(caught.value).endswith(f"[{caught.value.program}]")
        assert caught.value.hint and "--guard" in caught.value.hint


def test_a_guard_behind_somebody_elses_program_on_the_command_line(pair: Pair) -> None:
    """The first SYN is lost, so that there is a second in which the program comes."""
    index = pair.host.call(lambda: socket.if_nametoindex("eth0"))
    with peer(pair.peer, "tcp-echo") as server, witness(PASS, "theirs") as theirs, \
            ExitStack() as undo:  # fmt: skip
        drop(Lab(pair, 4, undo))
        argv = [*NETKAT, "-v", pair.peer.ipv4, str(server.port)]
        pipe = subprocess.PIPE
        child = pair.host.popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
        assert child.stderr is not None
        while b"tcx:" not in child.stderr.readline():
            pass
        number = theirs.program.id()
        link = pair.host.call(lambda: TcxLink(theirs.program.fd, index, FIRST))
        undo.callback(link.close)
        pair.peer.run(["nft", "delete", "table", "inet", "silent"])
        _, stderr = child.communicate(timeout=10)
    assert child.returncode == 2
    lines = stderr.decode().splitlines()
    way = f"[tcx program {number} on eth0's tcx ingress, before netkat]"
    assert lines[-2].endswith(f"the tcx guard on eth0 did not see the reply {way}")
    assert lines[-1].startswith("  next: ")


def test_bytes_that_never_arrive_are_counted(pair: Pair) -> None:
    with peer(pair.peer, "tcp-mute") as server:

        def talk() -> None:
            with netkat.Stack() as stack:
                conn = stack.create_connection((pair.peer.ipv4, server.port), 3)
                conn.settimeout(0.5)
                with pytest.raises(TimedOut, match=r"^timed out after 0\.5 s$"):
                    conn.sendall(bytes(64 << 20))
                AckWaiter(conn, cancel_fd=None).wait(0.5)

        with pytest.raises(Undelivered) as caught:
            pair.host.call(talk)
    assert caught.value.count > 0
    assert str(caught.value).startswith(f"{caught.value.count} bytes not acknowledged")


def test_output_that_cannot_be_written(pair: Pair) -> None:
    with peer(pair.peer, "tcp-source", size=1000) as server, open("/dev/full", "wb") as full:
        argv = [*NETKAT, pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(argv, cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
        _, stderr = child.communicate(timeout=10)
    lines = stderr.decode().splitlines()
    assert child.returncode == 1
    assert "No space left on device" in lines[0] and lines[1].startswith("  next: ")


def test_waits_are_bounded(pair: Pair) -> None:
    """-w is the end of every wait, whatever the fault."""
    began = time.monotonic()
    code, _ = run(pair.host, "-w", "500ms", "10.99.0.77", 81)
    assert code == 1
    assert time.monotonic() - began < 15


def test_a_udp_probe_that_meets_itself(pair: Pair) -> None:
    """-z -u: silence would be "open or filtered", but our own datagram came back."""
    with ExitStack() as undo:
        lab = Lab(pair, 4, undo)
        hairpin(lab)
        code, lines = run(pair.host, "-uvz", "-w", "1", lab.target, 53)
    assert code == 1
    assert any("[hairpin: our own datagram came back in from" in line for line in lines)
    assert not any("open or filtered" in line for line in lines)
