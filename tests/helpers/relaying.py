"""A relay in a thread, with a pipe on each side of it and a kernel connection behind it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from netkat.commands.relay.relay import Relay
from netkat.commands.relay.stop_rules import StopReason
from tests.helpers.kernel_conn import KernelConn


class Run:
    """A relay in a thread, with a pipe on each side of it."""

    def __init__(self, conn: KernelConn, *, stdin: int | None = -1, **options: Any) -> None:
        self.conn = conn
        self.output, out_write = os.pipe()
        self.input: int | None = None
        if stdin == -1:
            stdin, self.input = os.pipe()
        self.cancel_read, self.cancel_write = os.pipe()
        self.relay = Relay(
            conn, stdin=stdin, stdout=out_write, cancel_fd=self.cancel_read, **options
        )
        self._to_close = {self.output, out_write, self.cancel_read, self.cancel_write}
        self._to_close |= {fd for fd in (stdin, self.input) if fd is not None}
        self.reason: StopReason | None = None
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.began = time.monotonic()
        self.thread.start()

    def _run(self) -> None:
        try:
            self.reason = self.relay.run()
        except Exception as error:
            self.error = error

    def type(self, data: bytes) -> None:
        assert self.input is not None
        os.write(self.input, data)

    def end_input(self) -> None:
        assert self.input is not None
        self.close(self.input)

    def close(self, fd: int) -> None:
        os.close(fd)
        self._to_close.discard(fd)

    def result(self, timeout: float) -> StopReason:
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"still relaying after {timeout} s"
        if self.error is not None:
            raise self.error
        assert self.reason is not None
        return self.reason

    def took(self) -> float:
        return time.monotonic() - self.began

    def clean(self) -> None:
        if self.thread.is_alive():
            os.write(self.cancel_write, b"x")
            self.thread.join(2)
        self.conn.abort()
        self.conn.peer.close()
        self.relay.close()
        for fd in self._to_close:
            os.close(fd)


def receive_all(sock: socket.socket) -> bytes:
    sock.settimeout(10)
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def fill(sock: Any) -> int:
    """Send until nothing more is taken; how much was."""
    total = 0
    while True:
        try:
            total += sock.send(memoryview(bytes(65536)))
        except BlockingIOError:
            return total


def feed(fd: int, count: int) -> None:
    try:
        for _ in range(count // 4096):
            os.write(fd, bytes(4096))
    except OSError:
        pass


def write_and_close(run: Run, data: bytes) -> None:
    assert run.input is not None
    view = memoryview(data)
    while view:
        view = view[os.write(run.input, view) :]
    run.end_input()


def echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.close()


@contextmanager
def relays() -> Iterator[Callable[..., Run]]:
    """Makes relays, and cleans up after all of them."""
    made: list[Run] = []

    def make(conn: KernelConn | None = None, **options: Any) -> Run:
        run = Run(conn or KernelConn(), **options)
        made.append(run)
        return run

    try:
        yield make
    finally:
        for run in made:
            run.clean()
