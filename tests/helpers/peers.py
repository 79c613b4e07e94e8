"""Real peers: kernel sockets in a child process inside a namespace.

    with peer(pair.peer, "tcp-echo") as server:
        ... connect to pair.peer.ipv4, server.port ...
        event = server.event("closed")     # {"bytes": …, "sha256": …, "peer": [address, port]}

A peer says when it listens (its port), and then one event a line. It ends with
its stdin, so also when the test run is killed. Kinds:

tcp-sink      reads to the end, then closes          closed: bytes, sha256
tcp-echo      sends back what it reads               closed: bytes, sha256
tcp-source    sends --size bytes and FIN, then reads sent; closed: bytes, sha256
tcp-duplex    sends --size bytes and FIN while it reads  closed: bytes, sha256
tcp-mute      accepts and never reads                accepted
tcp-reset     reads --size bytes, then sends RST     reset
udp-echo      sends back every datagram              datagram: bytes, peer
udp-counter   counts numbered datagrams              asked by tally()
udp-duplex    counts, and sends --count numbered ones at --rate a second to the first who asks
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.helpers.netns import Namespace, end

NUMBERED = struct.Struct("!4sI")
"""What a numbered datagram begins with: a mark and its number."""

MARK = b"nkno"


def pattern(size: int, seed: str = "netkat") -> bytes:
    """``size`` bytes that both ends know."""
    return hashlib.shake_128(seed.encode()).digest(size)


def numbered(number: int, size: int = 64) -> bytes:
    """Datagram ``number`` of a series."""
    return NUMBERED.pack(MARK, number).ljust(size, b".")


def number_of(datagram: bytes) -> int | None:
    """The number in a numbered datagram; None for another."""
    if len(datagram) < NUMBERED.size:
        return None
    mark, number = NUMBERED.unpack_from(datagram)
    return int(number) if mark == MARK else None


class Peer:
    """A running peer, seen from the test."""

    def __init__(self, child: subprocess.Popen[Any]) -> None:
        assert child.stdin is not None and child.stdout is not None
        self._child, self._in, self._out = child, child.stdin, child.stdout
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        self.port: int = self.event("ready")["port"]

    @property
    def pid(self) -> int:
        """The process that owns the socket."""
        return self._child.pid

    def event(self, kind: str, timeout: float = 10) -> dict[str, Any]:
        """The next event of that kind; others are kept in ``events``."""
        deadline = time.monotonic() + timeout
        while True:
            for index, event in enumerate(self.events):
                if event["event"] == kind:
                    return self.events.pop(index)
            self._read(deadline, kind)

    def pending(self, kind: str, wait: float = 0.0) -> list[dict[str, Any]]:
        """All events of that kind so far, after ``wait`` seconds in which none need come."""
        time.sleep(wait)
        while select.select([self._out], [], [], 0)[0]:
            if not self._fill():
                break
        return [event for event in self.events if event["event"] == kind]

    def tally(self) -> dict[str, Any]:
        """Of udp-counter and udp-duplex: received, unique, doubled: numbers; missing: a list."""
        self._in.write(b"tally\n")
        self._in.flush()
        return self.event("tally")

    def close(self) -> None:
        """End it."""
        end(self._child)

    def _read(self, deadline: float, kind: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._out], [], [], left)[0]:
            raise AssertionError(f"the peer never said {kind!r}; it said {self.events}")
        if not self._fill():
            raise AssertionError(f"the peer ended ({self._child.wait()}) before {kind!r}")

    def _fill(self) -> bool:
        chunk = os.read(self._out.fileno(), 65536)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        self.events += [json.loads(line) for line in lines]
        return bool(chunk)


@contextmanager
def peer(
    space: Namespace,
    kind: str,
    *,
    host: str = "::",
    port: int = 0,
    size: int = 0,
    seed: str = "netkat",
    count: int = 0,
    rate: int = 5000,
) -> Iterator[Peer]:
    """Start a peer in a namespace. ``host`` "::" takes IPv4 as well; ``port`` 0 is any."""
    arguments = ["--host", host, "--port", str(port), "--size", str(size), "--seed", seed]
    arguments += ["--count", str(count), "--rate", str(rate)]
    child = space.python(
        "tests.helpers.peers", kind, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Peer(child)
    finally:
        end(child)


# What follows runs in the child.


def say(event: str, **fields: Any) -> None:
    """One event for the test."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


def plain(address: tuple[Any, ...]) -> list[Any]:
    """[address, port], IPv4 without its IPv6 mapping."""
    return [str(address[0]).removeprefix("::ffff:"), address[1]]


class TcpServer:
    """Accepts for ever, one thread a connection."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.role = options.kind.removeprefix("tcp-")
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.host == "::":
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind((options.host, options.port))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]

    def serve(self) -> None:
        """Never returns."""
        while True:
            connection, address = self.listener.accept()
            threading.Thread(target=self.talk, args=(connection, address), daemon=True).start()

    def talk(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        """One connection, by the role."""
        say("accepted", peer=plain(address))
        try:
            getattr(self, self.role)(connection, plain(address))
        except OSError as error:
            say("failed", peer=plain(address), error=type(error).__name__, words=str(error))
        if self.role != "mute":
            connection.close()

    def drain(self, connection: socket.socket, who: list[Any], *, echo: bool = False) -> None:
        """Read to the end and say what came."""
        digest, total, buffer = hashlib.sha256(), 0, bytearray(1 << 18)
        view = memoryview(buffer)
        while count := connection.recv_into(buffer):
            digest.update(view[:count])
            total += count
            if echo:
                connection.sendall(view[:count])
        say("closed", bytes=total, sha256=digest.hexdigest(), peer=who)

    def sink(self, connection: socket.socket, who: list[Any]) -> None:
        self.drain(connection, who)

    def echo(self, connection: socket.socket, who: list[Any]) -> None:
        self.drain(connection, who, echo=True)

    def send(self, connection: socket.socket) -> None:
        data = pattern(self.options.size, self.options.seed)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        say("sent", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def source(self, connection: socket.socket, who: list[Any]) -> None:
        self.send(connection)
        self.drain(connection, who)

    def duplex(self, connection: socket.socket, who: list[Any]) -> None:
        sender = threading.Thread(target=self.send, args=(connection,), daemon=True)
        sender.start()
        self.drain(connection, who)
        sender.join()

    def mute(self, connection: socket.socket, who: list[Any]) -> None:
        self.kept = [*getattr(self, "kept", []), connection]

    def reset(self, connection: socket.socket, who: list[Any]) -> None:
        left = self.options.size
        while left > 0 and (chunk := connection.recv(min(left, 65536))):
            left -= len(chunk)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        say("reset", peer=who)


class UdpServer:
    """One socket; counts numbered datagrams, echoes, or sends a series back."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        if options.host == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((options.host, options.port))
        self.port = self.socket.getsockname()[1]
        self.seen: dict[int, int] = {}
        self.sending = False

    def serve(self) -> None:
        """Never returns."""
        while True:
            datagram, address = self.socket.recvfrom(65536)
            if self.options.kind == "udp-echo":
                self.socket.sendto(datagram, address)
                say("datagram", bytes=len(datagram), peer=plain(address))
                continue
            number = number_of(datagram)
            if number is not None:
                self.seen[number] = self.seen.get(number, 0) + 1
            if self.options.kind == "udp-duplex" and not self.sending:
                self.sending = True
                say("peer", peer=plain(address))
                threading.Thread(target=self.series, args=(address,), daemon=True).start()

    def series(self, address: tuple[Any, ...]) -> None:
        """``count`` numbered datagrams, ``rate`` a second, ten at a time."""
        began = time.monotonic()
        for number in range(self.options.count):
            if number % 10 == 0:
                time.sleep(max(0.0, began + number / self.options.rate - time.monotonic()))
            self.socket.sendto(numbered(number), address)
        say("sent", count=self.options.count)

    def tally(self) -> None:
        """Say what was counted."""
        highest = max(self.seen, default=-1)
        missing = [number for number in range(highest + 1) if number not in self.seen]
        received = sum(self.seen.values())
        say(
            "tally",
            received=received,
            unique=len(self.seen),
            doubled=received - len(self.seen),
            missing=missing[:20],
        )


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--host", default="::")
    parser.add_argument("--seed", default="netkat")
    for name in ("--port", "--size", "--count", "--rate"):
        parser.add_argument(name, type=int, default=0)
    options = parser.parse_args()
    server = TcpServer(options) if options.kind.startswith("tcp-") else UdpServer(options)
    threading.Thread(target=server.serve, daemon=True).start()
    say("ready", port=server.port)
    for line in sys.stdin:
        if line.strip() == "tally" and isinstance(server, UdpServer):
            server.tally()
    os._exit(0)


if __name__ == "__main__":
    main()
