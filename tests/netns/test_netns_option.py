"""--netns and Stack(netns=): sockets and guard in there, names and files out here."""

from __future__ import annotations

import os
import socket
import subprocess
from functools import partial

import pytest

import netkat as door
from netkat.errors import MissingCapability, NamespaceNotFound
from tests.helpers.exchange import netkat
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer


def command(*arguments: str, stdin: str = "", prefix: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """netkat in the tests' own namespace."""
    done = subprocess.run(
        [*prefix, *netkat(*arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf", "socket"])
def test_by_name(pair: Pair, step: str) -> None:
    """Guard, cleanup process and reserved port are in there, and gone after."""
    with peer(pair.peer, "tcp-echo") as server:
        code, out, said = command(
            "-v", "--netns", pair.host.name, "--guard", step, pair.peer.ipv4, str(server.port),
            stdin="hello",
        )  # fmt: skip
        assert (code, out) == (0, "hello"), said
        assert f"from {pair.host.ipv4} on eth0" in said
        assert server.event("closed")["peer"][0] == pair.host.ipv4
    assert "netkat" not in pair.host.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout


def test_by_path_and_pid(pair: Pair) -> None:
    child = pair.host.popen(["sleep", "30"])
    wanted = os.stat(f"/run/netns/{pair.host.name}").st_ino
    while os.stat(f"/proc/{child.pid}/ns/net").st_ino != wanted:
        assert child.poll() is None
    with peer(pair.peer, "tcp-echo") as server:
        for where in (f"/run/netns/{pair.host.name}", str(child.pid)):
            arguments = ("--netns", where, pair.peer.ipv6, str(server.port))
            assert command(*arguments, stdin="hello")[:2] == (0, "hello")


def test_names_resolve_and_files_open_out_here(pair: Pair) -> None:
    """In there localhost.localdomain is nobody: no resolver, and /etc/hosts is not its own."""
    folder = f"/etc/netns/{pair.host.name}"
    os.makedirs(folder)
    try:
        with open(f"{folder}/hosts", "w") as hosts:
            hosts.write("192.0.2.1 localhost\n")
        code, _, said = command("--netns", pair.host.name, "-4", "localhost", "9")
        assert code == 2
        assert "127.0.0.1 is loopback" in said
    finally:
        os.unlink(f"{folder}/hosts")
        os.rmdir(folder)


def test_not_there() -> None:
    for where, text in (
        ("no-such-namespace", "no network namespace"),
        ("/no/such/file", "no network namespace"),
        ("4194305", "no such process: 4194305"),
    ):
        code, _, said = command("--netns", where, "192.0.2.1", "9")
        assert code == 2
        assert text in said and "Traceback" not in said
    with pytest.raises(NamespaceNotFound):
        door.Stack(netns="no-such-namespace")


def test_without_sys_admin(pair: Pair) -> None:
    prefix = ("setpriv", "--bounding-set=-sys_admin")
    arguments = ("--netns", pair.host.name, pair.peer.ipv4, "9")
    code, _, said = command(*arguments, prefix=prefix)
    assert code == 2
    assert "CAP_SYS_ADMIN" in said
    assert issubclass(MissingCapability, PermissionError)


def test_capabilities_are_gone_in_every_thread(pair: Pair) -> None:
    """One thread stays in the other namespace, to ask for routes there when they change."""
    with peer(pair.peer, "tcp-echo") as server:
        child = subprocess.Popen(
            netkat("--netns", pair.host.name, pair.peer.ipv4, str(server.port)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert child.stdin is not None and child.stdout is not None
        with child:
            child.stdin.write(b"x")
            child.stdin.flush()
            assert child.stdout.read(1) == b"x"
            ours = os.stat("/proc/self/ns/net").st_ino
            tasks = os.listdir(f"/proc/{child.pid}/task")
            assert len(tasks) > 3
            elsewhere = 0
            for task in tasks:
                folder = f"/proc/{child.pid}/task/{task}"
                with open(f"{folder}/status") as status:
                    held = {
                        line.split()[0]: line.split()[1] for line in status if line[:3] == "Cap"
                    }
                assert int(held["CapEff:"], 16) == int(held["CapPrm:"], 16) == 0
                elsewhere += os.stat(f"{folder}/ns/net").st_ino != ours
            assert elsewhere == 1
            child.stdin.close()
            assert child.wait(10) == 0


def test_stack_in_a_namespace(pair: Pair) -> None:
    """Threads of this process stay here: nothing keeps the namespace once the stack is closed."""
    with peer(pair.peer, "tcp-echo") as server, door.Stack(netns=pair.host.name) as stack:
        for version in (4, 6):
            with stack.create_connection((pair.peer.address(version), server.port)) as conn:
                conn.send(b"hello")
                assert conn.recv(5) == b"hello"
            ours = os.stat("/proc/self/ns/net").st_ino
            for task in os.listdir("/proc/self/task"):
                assert os.stat(f"/proc/self/task/{task}/ns/net").st_ino == ours


def test_server_in_a_namespace(pair: Pair) -> None:
    """The port is reserved, the wire opened and the routes read in there."""
    pair.host.ip(f"route add default via {pair.peer.ipv4}")
    with door.Stack(netns=pair.host.name) as stack:
        for address in (pair.host.ipv4, pair.host.ipv6, ""):
            with stack.create_server((address, 0)) as server:
                where = address or pair.host.ipv4
                port = server.getsockname()[1]
                call = partial(socket.create_connection, (where, port), 5)
                client: socket.socket = pair.peer.call(call)
                with client:
                    conn, _ = server.accept()
                    with conn:
                        client.sendall(b"hello")
                        assert conn.recv(5) == b"hello"
    ours = os.stat("/proc/self/ns/net").st_ino
    for task in os.listdir("/proc/self/task"):
        assert os.stat(f"/proc/self/task/{task}/ns/net").st_ino == ours
