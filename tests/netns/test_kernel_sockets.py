"""--kernel: the same client through a kernel socket. The two differ where the network does."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from ipaddress import ip_address
from typing import Any

import pytest

from netkat.conn import TcpConnection
from netkat.flow import IPAddress, Protocol
from netkat.kernel_sockets.kernel_session import KernelSession
from netkat.kernel_sockets.open_socket import place
from netkat.kernel_sockets.sockets import KernelSockets
from netkat.options import SocketOptions
from netkat.stack import Option
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import pattern, peer
from tests.helpers.rules import nft

NETKAT = [sys.executable, "-m", "netkat"]
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
SIZE = 3_000_000


def connect(core: KernelSockets, address: IPAddress, port: int) -> KernelSession:
    """A TCP session in the calling thread's namespace."""
    return core.dial(core.prepare(address, port, protocol=Protocol.TCP), timeout=5)


def run(pair: Pair, *arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """netkat on the host's side; never raises for its exit code."""
    options = {"text": False, "check": False, "cwd": ROOT, "timeout": 30, **options}
    return pair.host.run([*NETKAT, *map(str, arguments)], **options)


@VERSIONS
def test_a_stream_each_way_and_the_peers_end(pair: Pair, version: int) -> None:
    data = pattern(SIZE, "there")
    with peer(pair.peer, "tcp-duplex", size=SIZE, seed="back") as server:
        done = run(pair, "--kernel", pair.peer.address(version), server.port, input=data)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (
            hashlib.sha256(done.stdout).digest() == hashlib.sha256(pattern(SIZE, "back")).digest()
        )
        assert server.event("closed")["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_hosts_rules_apply_and_are_told(pair: Pair) -> None:
    """What netkat goes around, --kernel meets: NAT sends it elsewhere, a rule rejects it."""
    with peer(pair.peer, "tcp-echo") as server:
        nft(
            pair.host,
            "table ip here { chain nat { type nat hook output priority -100;"
            f" tcp dport 7777 dnat to {pair.peer.ipv4}:{server.port}; }};"
            " chain out { type filter hook output priority 0;"
            " tcp dport 7778 reject; udp dport 7778 reject; udp dport 7779 drop;"
            " tcp dport 7779 drop; }; }",
        )
        through = run(pair, "--kernel", pair.peer.ipv4, 7777, input=b"hello")
        past = run(pair, pair.peer.ipv4, 7777, input=b"hello")
        assert (through.returncode, through.stdout) == (0, b"hello")
        assert (past.returncode, past.stdout) == (1, b"")
        assert b"[RST from" in past.stderr
    rejected = run(pair, "--kernel", "-v", pair.peer.ipv4, 7778)
    assert rejected.returncode == 1
    assert b"does not say which" in rejected.stderr and b"--kernel away" in rejected.stderr
    rejected = run(pair, "--kernel", "-uz", "-v", pair.peer.ipv4, 7778)
    assert rejected.returncode == 1
    assert b"ICMP port unreachable from 10.99.0.1]; that is this host" in rejected.stderr
    dropped = run(pair, "--kernel", "-u", pair.peer.ipv4, 7779, input=b"x")
    assert dropped.returncode == 1
    assert b"this host refuses to send: Operation not permitted" in dropped.stderr
    dropped = run(pair, "--kernel", "-w1", pair.peer.ipv4, 7779)
    assert dropped.returncode == 1
    assert re.search(rb"timed out after 1(\.\d)? s \[no reply to \d SYNs?; whether", dropped.stderr)


@VERSIONS
def test_words_and_codes_of_z(pair: Pair, version: int) -> None:
    address = pair.peer.address(version)
    with peer(pair.peer, "tcp-echo") as server:
        done = run(pair, "--kernel", "-zv", address, server.port)
        assert (done.returncode, done.stdout) == (0, b"")
        note, last = done.stderr.decode().splitlines()
        assert note.startswith(f"netkat: {address} through a kernel socket")
        assert last == f"Connection to {address} {server.port} port [tcp/*] succeeded!"
        assert run(pair, "--kernel", "-z", address, server.port).stderr == b""
    done = run(pair, "--kernel", address, server.port)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(
        f"netkat: connect to {address} port {server.port} (tcp) failed: Connection refused ["
    )


@VERSIONS
def test_udp_in_three_states(pair: Pair, version: int) -> None:
    address = pair.peer.address(version)
    with peer(pair.peer, "udp-echo") as server:
        done = run(pair, "--kernel", "-uvz", address, server.port)
        assert done.returncode == 0
        assert b"succeeded!" in done.stderr
        done = run(pair, "--kernel", "-u", address, server.port, input=b"ask")
        assert (done.returncode, done.stdout) == (0, b"ask")
    done = run(pair, "--kernel", "-uvz", address, server.port)
    assert done.returncode == 1
    assert f"Connection refused [ICMP port unreachable from {address}]".encode() in done.stderr
    with peer(pair.peer, "udp-counter") as server:
        done = run(pair, "--kernel", "-uvz", "-w1", address, server.port)
        assert done.returncode == 0
        assert b"no answer (open or filtered) [no reply to 3 datagrams]" in done.stderr


def test_a_reset_is_told_with_what_it_cost(pair: Pair) -> None:
    with peer(pair.peer, "tcp-reset", size=5) as server:
        done = run(pair, "--kernel", pair.peer.ipv4, server.port, input=b"hello")
        assert done.returncode == 1
        assert b"Connection reset by peer" in done.stderr


def test_source_port_and_interface(pair: Pair) -> None:
    with peer(pair.peer, "tcp-sink") as server:
        where = ["-p", 4455, "-s", pair.host.ipv4, "-i", "eth0"]
        done = run(pair, "--kernel", *where, pair.peer.ipv4, server.port, input=b"")
        assert done.returncode == 0, done.stderr
        assert server.event("closed")["peer"] == [pair.host.ipv4, 4455]
        done = run(pair, "--kernel", "-s", "192.0.2.1", pair.peer.ipv4, server.port, input=b"")
        assert done.returncode == 2
        assert b"192.0.2.1 is not an address of this host" in done.stderr


def test_in_another_namespace(pair: Pair) -> None:
    """Asked from outside, where neither address is."""
    with peer(pair.peer, "tcp-echo") as server:
        words = ["--kernel", "--netns", pair.host.name, pair.peer.ipv4, str(server.port)]
        done = subprocess.run(
            [*NETKAT, *words], cwd=ROOT, input=b"over", capture_output=True, timeout=30
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"over", b"")


def test_without_capabilities(pair: Pair) -> None:
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    with peer(pair.peer, "tcp-echo") as server:
        words = [*powerless, *NETKAT, "--kernel", pair.peer.ipv4, str(server.port)]
        done = pair.host.run(words, cwd=ROOT, input="hi", check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hi", "")


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("203.0.113.1", "no route to 203.0.113.1: the kernel says Network is unreachable"),
        ("10.99.0.77", "No route to host [an ICMP error, or the next hop did not answer: "),
    ],
    ids=["no-route", "no-neighbour"],
)
def test_no_way_there(pair: Pair, target: str, line: str) -> None:
    pair.host.sysctl("net.ipv4.neigh.eth0.retrans_time_ms", 50)
    done = run(pair, "--kernel", target, 80)
    assert line in done.stderr.decode()
    assert done.returncode == (2 if target.startswith("203") else 1)


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_it_in_order(pair: Pair, number: int) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        child = pair.host.popen(
            [*NETKAT, "--kernel", pair.peer.ipv4, str(server.port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        assert child.stdout.read(1) == b"x"
        child.send_signal(number)
        assert child.wait(10) == 128 + number
        assert server.event("closed")["bytes"] == 1
        child.stdin.close()
        child.stdout.close()


@VERSIONS
def test_it_is_a_connection_like_any_other(pair: Pair, version: int) -> None:
    """Through the door that the command uses: options, facts, a file, a real socket."""
    with peer(pair.peer, "tcp-echo") as server:
        target = ip_address(pair.peer.address(version)), server.port

        def talk() -> None:
            with KernelSockets(socket_options=SocketOptions(ttl=9, tos=0x10)) as core:
                conn = TcpConnection(connect(core, *target))
                level, number = place(Option.TTL, version)
                assert conn.getsockopt(level, number) == 9
                conn.setsockopt(level, number, 10)
                conn.sendall(b"line\n")
                with conn.makefile("rb") as lines:
                    assert lines.readline() == b"line\n"
                facts = conn.info()
                assert facts.handshake > 0 and facts.mss > 1000 and not facts.unacked
                with conn.as_socket() as real:
                    real.sendall(b"more")
                    assert real.recv(10) == b"more"
                    assert real.getpeername()[:2] == (pair.peer.address(version), server.port)
                    assert real.getsockopt(level, number) == 10
                    assert real.info().mss == facts.mss
                with pytest.raises(OSError, match="handed over"):
                    conn.send(b"x")

        pair.host.call(talk)
        assert server.event("closed")["bytes"] == 9


def test_close_wakes_who_waits(pair: Pair) -> None:
    with peer(pair.peer, "tcp-mute") as server:
        target = ip_address(pair.peer.ipv4), server.port
        core = KernelSockets()
        conn = TcpConnection(pair.host.call(lambda: connect(core, *target)))
        outcome: list[BaseException] = []

        def wait() -> None:
            try:
                conn.recv(1)
            except OSError as error:
                outcome.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        conn.abort()
        waiting.join(10)
        assert not waiting.is_alive()
        assert outcome and "closed" in str(outcome[0])
        core.close()
