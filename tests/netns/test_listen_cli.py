"""``netkat -l`` between namespaces: real netcats as clients, words, ends, who is let in."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import pattern

IPVERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
NETKAT = [sys.executable, "-m", "netkat"]
PORT = 7300
SIZE = 4_000_000
NETCATS = {
    "nc": ["nc", "-N", "{host}", "{port}"],
    "ncat": ["ncat", "{host}", "{port}"],
    "socat": ["socat", "-t", "10", "-", "TCP:{bracketed}:{port}"],
}


class Listener:
    """A running ``netkat -l``, which has said that it listens."""

    def __init__(self, pair: Pair, *arguments: object, **options: Any) -> None:
        for name in ("stdin", "stdout", "stderr"):
            options.setdefault(name, subprocess.PIPE)
        argv = [*NETKAT, "-v", "-l", *map(str, arguments)]
        self.child: subprocess.Popen[bytes] = pair.host.popen(argv, cwd=ROOT, **options)
        self.stderr = b""
        self.wait_for(rb"^Listening on .*\n")

    def wait_for(self, expression: bytes, seconds: float = 10) -> re.Match[bytes]:
        """The first place in stderr where it stands."""
        assert self.child.stderr is not None
        end = time.monotonic() + seconds
        while True:
            found = re.search(expression, self.stderr, re.MULTILINE)
            if found:
                return found
            left = end - time.monotonic()
            ready = left > 0 and select.select([self.child.stderr], [], [], left)[0]
            chunk = os.read(self.child.stderr.fileno(), 65536) if ready else b""
            assert chunk, f"netkat never said {expression!r}: {self.stderr!r}"
            self.stderr += chunk

    def end(self, data: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Its exit code, all its output and all that it said."""
        out, said = self.child.communicate(data, timeout=20)
        return self.child.returncode, out, self.stderr + said


def dial(pair: Pair, port: int = PORT, version: int = 4) -> socket.socket:
    host = pair.host.address(version)
    return pair.peer.call(lambda: socket.create_connection((host, port), timeout=5))


@IPVERSIONS
@pytest.mark.parametrize("tool", NETCATS)
def test_both_ways_with_a_real_netcat(pair: Pair, tmp_path: Path, tool: str, version: int) -> None:
    theirs, ours = pattern(SIZE, "theirs"), pattern(SIZE, "ours")
    (tmp_path / "theirs").write_bytes(theirs)
    (tmp_path / "ours").write_bytes(ours)
    host = pair.host.address(version)
    bracketed = f"[{host}]" if version == 6 else host
    argv = [w.format(host=host, port=PORT, bracketed=bracketed) for w in NETCATS[tool]]
    with (tmp_path / "ours").open("rb") as source, (tmp_path / "got").open("wb") as sink:
        listener = Listener(pair, host, PORT, stdin=source, stdout=sink)
    with (tmp_path / "theirs").open("rb") as source:
        client: Any = pair.peer.run(argv, stdin=source, text=False)
    code, _, said = listener.end()
    assert code == 0, said
    assert client.stdout == ours
    assert (tmp_path / "got").read_bytes() == theirs
    assert f"Listening on {host} {PORT} (eth0)".encode() in said
    peer = pair.peer.address(version)
    assert re.search(rf"^Connection received on {peer} \d+$".encode(), said, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    [("{port}",), ("{host}", "{port}"), ("-p", "{port}"), ("-p", "{port}", "-s", "{host}")],
    ids=" ".join,
)
def test_each_form_of_netcat(pair: Pair, words: tuple[str, ...]) -> None:
    pair.host.ip("route add default via 10.99.0.2")
    arguments = [word.format(host=pair.host.ipv4, port=PORT) for word in words]
    listener = Listener(pair, *arguments)
    with dial(pair) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert listener.end(b"there")[:2] == (0, b"hello")
        assert client.recv(100) == b"there"


def test_both_families_of_an_interface_at_once(pair: Pair) -> None:
    listener = Listener(pair, "-k", "-i", "eth0", PORT)
    listener.wait_for(f"^Listening on {pair.host.ipv4} {PORT} \\(eth0\\)$".encode())
    listener.wait_for(f"^Listening on {pair.host.ipv6} {PORT} \\(eth0\\)$".encode())
    for number, version in enumerate((4, 6), 1):
        with dial(pair, version=version) as client:
            client.sendall(b"x")
        listener.wait_for(f"received on {pair.peer.address(version)} ".encode())
        listener.wait_for(rb"(?:netkat: 0 bytes sent, 1 received\n(?:Conn.*\n)?){%d}" % number)
    listener.child.send_signal(signal.SIGTERM)
    code, out, _ = listener.end()
    assert (code, out) == (128 + signal.SIGTERM, b"xx")


def test_port_zero_says_which(pair: Pair) -> None:
    listener = Listener(pair, pair.host.ipv4, 0)
    port = int(listener.wait_for(rb"^Listening on \S+ (\d+) ")[1])
    with dial(pair, port):
        pass
    assert listener.end()[0] == 0


def test_a_hundred_at_once_and_then_the_end(pair: Pair) -> None:
    listener = Listener(pair, "--max-conns", 100, "--reply", "echo", pair.host.ipv4, PORT)
    clients = [dial(pair) for _ in range(100)]
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    for number, client in enumerate(clients):
        assert client.recv(100) == b"%d" % number
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.close()
    code, out, said = listener.end()
    assert (code, out) == (0, b"")
    assert said.count(b"Connection received on") == 100
    assert str(PORT) not in pair.host.run(["ss", "-Hltn"]).stdout


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("clientip", "10.99.0.2\n"), ("hostname", f"{socket.gethostname()}\n")],
)
def test_an_answer_of_its_own(pair: Pair, kind: str, answer: str) -> None:
    listener = Listener(pair, "--reply", kind, pair.host.ipv4, PORT)
    done = pair.peer.run(["nc", pair.host.ipv4, str(PORT)])
    assert done.stdout == answer
    assert listener.end()[0] == 0


def test_an_answer_by_http(pair: Pair) -> None:
    listener = Listener(pair, "-k", "--reply", "http", "-i", "eth0", PORT)
    for host in (pair.host.ipv4, f"[{pair.host.ipv6}]"):
        done = pair.peer.run(["curl", "-sS", "-g", f"http://{host}:{PORT}/"])
        peer = f"[{pair.peer.ipv6}]" if ":" in host.strip("[]") else pair.peer.ipv4
        assert done.stdout.startswith(f"client {peer}:")
        assert f"host {socket.gethostname()}" in done.stdout
    listener.child.send_signal(signal.SIGINT)
    assert listener.end()[0] == 130


@contextmanager
def ended(child: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def wait_listening(pair: Pair, port: int) -> None:
    end = time.monotonic() + 10
    while f":{port} " not in pair.host.run(["ss", "-Hltn"]).stdout:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_allow_and_deny(pair: Pair) -> None:
    pair.peer.ip("addr add 10.99.0.66/24 dev eth0")
    words = ["--allow", "10.99.0.0/24", "--deny", "10.99.0.66,192.0.2.0/24"]
    listener = Listener(pair, *words, "--reply", "clientip", pair.host.ipv4, PORT)
    denied = pair.peer.run(["nc", "-s", "10.99.0.66", pair.host.ipv4, str(PORT)], check=False)
    assert denied.stdout == ""
    listener.wait_for(rb"^netkat: connection from 10\.99\.0\.66 \d+ denied \(--allow/--deny\)$")
    assert pair.peer.run(["nc", pair.host.ipv4, str(PORT)]).stdout == "10.99.0.2\n"
    assert listener.end()[0] == 0


def test_a_nodeport_takes_take_over(pair: Pair) -> None:
    table = """table ip published { chain prerouting { type nat hook prerouting priority dstnat;
        tcp dport 30080 dnat to 10.244.2.2:8080
    }
    }"""
    pair.host.run(["nft", "-f", "-"], input=table)
    argv = [*NETKAT, "-l", pair.host.ipv4, "30080"]
    done = pair.host.run(argv, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "nftables rule ip published prerouting" in done.stderr
    assert "--take-over" in done.stderr
    listener = Listener(pair, "--take-over", "--reply", "clientip", pair.host.ipv4, 30080)
    assert pair.peer.run(["nc", pair.host.ipv4, "30080"]).stdout == "10.99.0.2\n"
    assert listener.end()[0] == 0


def test_a_port_of_the_hosts_own_socket_takes_take_over(pair: Pair) -> None:
    """The socket's owner is named, hears nothing meanwhile, and is back afterwards."""
    answer = ["socat", f"TCP-LISTEN:{PORT},fork,reuseaddr", "EXEC:echo host"]
    with ended(pair.host.popen(answer)) as server:
        wait_listening(pair, PORT)
        argv = [*NETKAT, "-l", pair.host.ipv4, str(PORT)]
        done = pair.host.run(argv, check=False, cwd=ROOT)
        assert done.returncode == 2
        owner = f"socat (pid {server.pid}), listening on 0.0.0.0:{PORT}"
        assert f"is in use by {owner}" in done.stderr
        assert "--take-over" in done.stderr
        listener = Listener(pair, "--take-over", "--reply", "clientip", pair.host.ipv4, PORT)
        assert pair.peer.run(["nc", pair.host.ipv4, str(PORT)]).stdout == "10.99.0.2\n"
        code, _, said = listener.end()
        assert code == 0
        assert f"port {PORT} on 10.99.0.1 (eth0) is taken from {owner}:".encode() in said
        assert pair.peer.run(["nc", pair.host.ipv4, str(PORT)]).stdout == "host\n"


def test_a_socket_guard_cannot_take_over(pair: Pair) -> None:
    with ended(pair.host.popen(["nc", "-lk", str(PORT)])):
        wait_listening(pair, PORT)
        words = ["--take-over", "--guard", "socket", pair.host.ipv4, str(PORT)]
        done = pair.host.run([*NETKAT, "-l", *words], check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "the socket guard cannot take it over" in done.stderr


def test_a_port_in_a_masqueraded_flow_takes_take_over(pair: Pair) -> None:
    """A pod's flow that NAT has put on the port: only conntrack knows of it."""
    entry = [
        *("conntrack", "-I", "-p", "tcp", "-s", "10.244.1.7", "-d", pair.peer.ipv4),
        *("--sport", "40000", "--dport", "443", "--state", "ESTABLISHED", "--timeout", "60"),
        *("--src-nat", f"{pair.host.ipv4}:{PORT}"),
    ]
    pair.host.run(entry)
    argv = [*NETKAT, "-l", pair.host.ipv4, str(PORT)]
    done = pair.host.run(argv, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "a conntrack entry of the masqueraded flow 10.244.1.7:40000" in done.stderr
    listener = Listener(pair, "--take-over", "--reply", "clientip", pair.host.ipv4, PORT)
    assert pair.peer.run(["nc", pair.host.ipv4, str(PORT)]).stdout == "10.99.0.2\n"
    code, _, said = listener.end()
    assert code == 0 and b"is taken from a conntrack entry" in said


@IPVERSIONS
def test_reply_mac_goes_back_the_way_the_client_came(pair: Pair, version: int) -> None:
    """The host's route for the client leads to a gateway that is not there."""
    client, network, nobody = {
        4: ("192.0.2.9", "192.0.2.0/24", "10.99.0.177"),
        6: ("2001:db8:9::9", "2001:db8:9::/64", f"{pair.host.ipv6.rpartition(':')[0]}:177"),
    }[version]
    pair.peer.ip(f"addr add {client} dev lo")
    pair.host.ip(f"route add {network} via {nobody}")
    words = ["--reply", "clientip", pair.host.address(version), PORT]
    ask = ["nc", "-w", "1", "-s", client, pair.host.address(version), str(PORT)]
    listener = Listener(pair, "-k", *words)
    assert pair.peer.run(ask, check=False).stdout == ""
    listener.child.send_signal(signal.SIGINT)
    listener.end()
    listener = Listener(pair, "--reply-mac", *words)
    assert pair.peer.run(ask).stdout == f"{client}\n"
    assert listener.end()[0] == 0


def test_with_raw_sockets_alone_it_says_what_it_cannot_see(pair: Pair) -> None:
    less = ["setpriv", "--inh-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"]
    argv = [*less, *NETKAT, "-v", "-l", "--reply", "clientip", pair.host.ipv4, str(PORT)]
    child = pair.host.popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said = ""
    while "Listening on" not in said:
        line = child.stderr.readline()
        assert line, said
        said += line
    assert f"NAT rule serves port {PORT} is not known: CAP_NET_ADMIN is missing" in said
    assert pair.peer.run(["nc", pair.host.ipv4, str(PORT)]).stdout == "10.99.0.2\n"
    assert child.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_clean(pair: Pair, number: signal.Signals) -> None:
    listener = Listener(pair, pair.host.ipv4, PORT)
    listener.child.send_signal(number)
    assert listener.end()[0] == 128 + number
    with pytest.raises(ConnectionRefusedError):
        dial(pair)


def test_a_client_that_resets_is_named(pair: Pair) -> None:
    listener = Listener(pair, pair.host.ipv4, PORT)
    client = dial(pair)
    listener.wait_for(rb"^Connection received")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    code, _, said = listener.end()
    assert code == 1
    assert b"Connection reset by peer" in said and b"Traceback" not in said


@pytest.mark.parametrize("more", [(), ("-k",), ("--reply", "echo")], ids=["", "-k", "--reply"])
def test_a_client_that_never_sends_is_idle(pair: Pair, more: tuple[str, ...]) -> None:
    most = ("--max-conns", "1") if "-k" in more else more
    listener = Listener(pair, "-w", 1, *most, pair.host.ipv4, PORT)
    with dial(pair) as client:
        listener.wait_for(rb"^netkat: idle timeout: no data for 1 s, closing$")
        assert client.recv(1) == b""
    assert listener.end()[0] == 0


def test_a_client_that_never_reads_is_told_of_with_the_count(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "much").write_bytes(bytes(40_000_000))
    with (tmp_path / "much").open("rb") as source:
        listener = Listener(pair, "-w", 1, pair.host.ipv4, PORT, stdin=source)
        with dial(pair):
            code, _, said = listener.end()
    assert code == 1
    assert b"bytes not acknowledged" in said and b"Traceback" not in said


def test_a_client_that_never_reads_does_not_hold_up_others(pair: Pair) -> None:
    listener = Listener(pair, "-w", 2, "--max-conns", 2, "--reply", "echo", pair.host.ipv4, PORT)
    with dial(pair) as mute:
        mute.settimeout(0.2)
        with suppress(TimeoutError):
            while True:  # until every buffer on the way is full
                mute.send(bytes(1 << 20))
        done = pair.peer.run(["nc", "-N", pair.host.ipv4, str(PORT)], input="quick")
        assert done.stdout == "quick"
        listener.wait_for(rb"^netkat: 10\.99\.0\.2 port \d+ .* bytes not acknowledged")
    assert listener.end()[0] == 0


@IPVERSIONS
def test_datagrams_of_the_first_peer(pair: Pair, version: int) -> None:
    host = pair.host.address(version)
    listener = Listener(pair, "-u", "-q", 2, host, PORT)
    family = socket.AF_INET6 if version == 6 else socket.AF_INET

    def client() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.settimeout(5)
        made.connect((host, PORT))
        return made

    with pair.peer.call(client) as first, pair.peer.call(client) as second:
        first.send(b"one ")
        listener.wait_for(rb"^Connection received on")
        second.send(b"not this ")
        first.send(b"two ")
        assert listener.child.stdin is not None
        listener.child.stdin.write(b"answer")
        listener.child.stdin.flush()
        assert first.recv(100) == b"answer"
        first.send(b"three")
        code, out, _ = listener.end()
        assert (code, out) == (0, b"one two three")


def test_datagrams_of_many_are_answered(pair: Pair) -> None:
    listener = Listener(pair, "-u", "-k", "--reply", "clientip", pair.host.ipv4, PORT)
    for _ in range(3):
        done = pair.peer.run(["nc", "-u", "-w1", pair.host.ipv4, str(PORT)], input="who am I")
        assert done.stdout == "10.99.0.2\n"
    listener.child.send_signal(signal.SIGINT)
    assert listener.end()[0] == 130


def test_capabilities_are_gone_from_every_thread(pair: Pair) -> None:
    listener = Listener(pair, "-k", pair.host.ipv4, PORT)
    with dial(pair):
        listener.wait_for(rb"^Connection received on")
        tasks = sorted(Path(f"/proc/{listener.child.pid}/task").iterdir())
        assert len(tasks) > 4
        for task in tasks:
            status = (task / "status").read_text()
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE), task
    listener.child.send_signal(signal.SIGTERM)
    assert listener.end()[0] == 143
