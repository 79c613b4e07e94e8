"""The forms of use of a connection: each is a thread that goes on through the change.

A form reports what happens to it, one event at a time: ``ok`` when bytes came back from the
peer, ``error`` when an attempt failed and another follows, ``ended`` when its connection is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.1
"""Seconds between two exchanges."""
ATTEMPT = 0.5
"""Seconds that a new connection or a datagram has for its answer."""
BLOCK = 16384
FINISH = 15.0
"""Seconds that a transfer has to deliver the rest, once it is told to stop."""

Report = Callable[..., None]


class Form:
    """One of them. ``library`` makes its connections, ``report(kind, detail)`` is told."""

    def __init__(self, library: Any, peer: tuple[str, int], report: Report) -> None:
        self.library, self.peer, self.report = library, peer, report
        self.stopping = threading.Event()
        self.checking = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True, name=type(self).__name__)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait until it has stopped; one that waits in a call for ever is left there."""
        self._thread.join(FINISH + 1)

    def run(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self.run()
        except Exception as error:
            self.report("ended", error)

    def pause(self) -> bool:
        """False once it is to stop."""
        return not self.stopping.wait(PAUSE)


class NewConnection(Form):
    """A connection on the default stack, again and again."""

    def run(self) -> None:
        while self.pause():
            began = time.monotonic()
            try:
                with self.connect() as conn:
                    conn.settimeout(ATTEMPT)
                    exchange(conn, b"new")
                self.report("ok", began=began)
            except OSError as error:
                self.report("error", error)

    def connect(self) -> Any:
        return self.library.create_connection(self.peer, ATTEMPT)


class NewOnStack(NewConnection):
    """The same, on a stack that lives on."""

    def connect(self) -> Any:
        return self.library.connect_on_stack(self.peer, ATTEMPT)


class Datagrams(Form):
    """A UDP connection that lives on: a datagram and its echo, again and again."""

    def run(self) -> None:
        conn = self.library.open_datagram(self.peer)
        conn.settimeout(ATTEMPT)
        number = 0
        while self.pause():
            number += 1
            began = time.monotonic()
            try:
                conn.send(b"%d" % number)
                # Echoes of earlier datagrams may come late.
                while conn.recv(100) != b"%d" % number:
                    pass
                self.report("ok", began=began)
            except OSError as error:
                self.report("error", error)
                self.library.check(conn)
        conn.close()


class Idle(Form):
    """An open connection on which a thread waits to read; it is written to only once it is told to
    check."""

    def run(self) -> None:
        conn = self.library.create_connection(self.peer, 5.0)
        exchange(conn, b"idle")
        conn.settimeout(None)
        self.report("ok", began=time.monotonic())
        threading.Thread(target=self._check, args=(conn,), daemon=True).start()
        receive(conn, 5)
        self.report("ok", began=time.monotonic())
        self.stopping.wait()
        conn.close()

    def _check(self, conn: Any) -> None:
        self.checking.wait()
        try:
            conn.sendall(b"check")
        except OSError:
            return  # the reader reports it


class AsSocket(Form):
    """An open connection's as_socket(), used as a plain socket."""

    def run(self) -> None:
        conn = self.library.create_connection(self.peer, 5.0)
        with self.library.as_socket(conn) as sock:
            sock.settimeout(None)
            while self.pause():
                began = time.monotonic()
                exchange(sock, b"as_socket")
                self.report("ok", began=began)


class Transfer(Form):
    """Blocks sent and echoed without a stop; their hashes are compared at the end."""

    def run(self) -> None:
        conn = self.library.create_connection(self.peer, 5.0)
        conn.settimeout(None)
        sent, received = hashlib.sha256(), hashlib.sha256()
        sender = threading.Thread(target=self._send, args=(conn, sent), daemon=True)
        sender.start()
        last = 0.0
        while data := conn.recv(BLOCK):
            received.update(data)
            now = time.monotonic()
            if now - last > PAUSE:
                last = now
                self.report("ok", began=now)
        sender.join()
        conn.close()
        self.report("hash", sent.hexdigest() == received.hexdigest())

    def _send(self, conn: Any, digest: Any) -> None:
        block = hashlib.shake_128(b"transfer").digest(BLOCK)
        number = 0
        try:
            while not self.stopping.wait(PAUSE / 4):
                number += 1
                data = number.to_bytes(8, "big") + block[8:]
                conn.sendall(data)
                digest.update(data)
            conn.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the reader reports it


class Streams(Form):
    """asyncio's streams over an open connection."""

    def run(self) -> None:
        asyncio.run(self._talk())

    async def _talk(self) -> None:
        reader, writer = await self.library.open_connection(*self.peer)
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                writer.write(b"streams")
                await writer.drain()
                await reader.readexactly(7)
                self.report("ok", began=began)
                await asyncio.sleep(PAUSE)
        finally:
            writer.close()


class Listener(Form):
    """A listener whose clients are echoed; the peer's own connections report ``ok``.

    One that has failed is opened again.
    """

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with self.library.create_server() as listener:
                    self.report("listening")
                    while not self.stopping.is_set():
                        conn = listener.accept()[0]
                        threading.Thread(target=self._echo, args=(conn,), daemon=True).start()
            except (OSError, ValueError) as error:  # ValueError: the address is not this host's
                self.report("ended", error)
                self.pause()

    @staticmethod
    def _echo(conn: Any) -> None:
        try:
            with conn:
                conn.settimeout(ATTEMPT)
                while data := conn.recv(100):
                    conn.sendall(data)
        except OSError:
            return  # the client reports it


FORMS: dict[str, type[Form]] = {
    "new": NewConnection,
    "stack": NewOnStack,
    "udp": Datagrams,
    "idle": Idle,
    "as_socket": AsSocket,
    "transfer": Transfer,
    "streams": Streams,
    "listener": Listener,
}


def exchange(conn: Any, data: bytes) -> None:
    """Send bytes and read them back. Errors: OSError."""
    conn.sendall(data)
    assert receive(conn, len(data)) == data


def receive(conn: Any, count: int) -> bytes:
    """So many bytes. Errors: ConnectionError where the peer has ended."""
    found = b""
    while len(found) < count:
        data = conn.recv(count - len(found))
        if not data:
            raise ConnectionError("the peer closed the connection")
        found += data
    return found
