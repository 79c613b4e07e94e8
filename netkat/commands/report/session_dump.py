"""-o and --hex-dump: files with the data that a connection sends and receives."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from netkat.errors import BadArgument, LocalStreamFailed

if TYPE_CHECKING:
    from netkat.commands.relay.directions import Conn, StreamConn, TransferState
    from netkat.commands.relay.relay_options import RelayOptions
    from netkat.flow import Protocol

Say = Callable[[str], None]
_ROW = 16
_SHOWN = bytes(byte if 0x20 <= byte < 0x7F else 0x2E for byte in range(256))


class SessionDump:
    """The files of one run; all connections of a listener write to the same files.

    An error of a file (disk full) is reported at once. The connection continues without the
    file, and raise_error() reports at the end how much is missing.
    Errors of the constructor: BadArgument.
    """

    def __init__(self, options: RelayOptions, say: Say) -> None:
        self._files: list[_File] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._output = self._open(options.output, "-o", options.append, say)
            self._hex_dump = self._open(options.hex_dump, "--hex-dump", options.append, say)
            undo.pop_all()

    def tee(self, conn: Conn, name: str = "") -> Conn:
        """Return a connection that also writes to the files; ``name`` marks it in the hex dump."""
        if not self._files:
            return conn
        return TeeConnection(conn, self._writer(f"{name}> "), self._writer(f"{name}< "))

    def writer_for(self, name: str) -> Callable[[memoryview], None]:
        """Takes what came from one that is no connection: a datagram's sender."""
        return self._writer(f"{name}< ")

    def close(self) -> None:
        """Close the files; idempotent."""
        for file in self._files:
            file.close()

    def raise_error(self) -> None:
        """After close(). Errors: LocalStreamFailed for a file that does not hold everything."""
        for file in self._files:
            if file.fault:
                raise LocalStreamFailed(
                    f"{file.title}: {file.fault}; {file.lost} bytes missing from it",
                    hint="check free space (df); the data on stdout and to the peer is complete",
                )

    def _open(self, path: str | None, option: str, append: bool, say: Say) -> _File | None:
        if path is None:
            return None
        self._files.append(_File(path, option, append=append, say=say))
        return self._files[-1]

    def _writer(self, mark: str) -> Callable[[memoryview], None]:
        output, dump = self._output, self._hex_dump
        offset = 0

        def take(view: memoryview) -> None:
            nonlocal offset
            if output is not None:
                output.write(view)
            if dump is not None:
                rows = "".join(hex_rows(view, offset, mark)).encode()
                dump.write(memoryview(rows), len(view))
                offset += len(view)

        return take


def hex_rows(view: memoryview, offset: int, mark: str) -> Iterator[str]:
    """``> 00000000  68 65 6c …  |hel|`` for each 16 bytes; ``offset`` counts the direction's."""
    data = bytes(view)
    for begin in range(0, len(data), _ROW):
        row = data[begin : begin + _ROW]
        shown = row.translate(_SHOWN).decode()
        yield f"{mark}{offset + begin:08x}  {row.hex(' '):47}  |{shown}|\n"


class _File:
    """One of them. ``lost`` counts the session's bytes that are not in it."""

    def __init__(self, path: str, option: str, *, append: bool, say: Say) -> None:
        self.title, self._say = f"{option} {path}", say
        self.fault = ""
        self.lost = 0
        self._lock = threading.Lock()
        mode = os.O_APPEND if append else os.O_TRUNC
        # O_NONBLOCK for the opening alone: a pipe without a reader would hold it up for ever.
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | mode
        try:
            self._fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise BadArgument(
                f"{self.title}: {error.strerror}", hint="name a file that can be written"
            ) from None
        os.set_blocking(self._fd, True)

    def write(self, view: memoryview, count: int | None = None) -> None:
        """Write all of it; ``count``: the session bytes that it represents, if different."""
        with self._lock:
            if self._fd < 0:
                return
            while view and not self.fault:
                try:
                    view = view[os.write(self._fd, view) :]
                except OSError as error:
                    self._failed(error)
            if view:
                self.lost += len(view) if count is None else count

    def close(self) -> None:
        """For after the threads that write; what comes later is lost."""
        with self._lock:
            if self._fd < 0:
                return
            descriptor, self._fd = self._fd, -1
            try:
                os.close(descriptor)
            except OSError as error:  # some file systems tell of a full disk only now
                self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.fault = error.strerror or type(error).__name__
        self._say(f"netkat: {self.title}: {self.fault}; the connection goes on without it")


class TeeConnection:
    """A connection that copies its data to ``sent`` and ``received``."""

    def __init__(
        self,
        conn: Conn,
        sent: Callable[[memoryview], None],
        received: Callable[[memoryview], None],
    ) -> None:
        self._conn, self._sent, self._received = conn, sent, received

    @property
    def protocol(self) -> Protocol:
        """The connection's."""
        return self._conn.protocol

    def fileno(self) -> int:
        """The connection's."""
        return self._conn.fileno()

    def recv_into(self, buffer: memoryview, nbytes: int = 0) -> int:
        """Receive, and copy the data."""
        count = self._conn.recv_into(buffer, nbytes)
        self._received(buffer[:count])
        return count

    def send(self, data: memoryview) -> int:
        """Send, and copy the accepted data."""
        count = self._conn.send(data)
        self._sent(data[:count])
        return count

    def shutdown(self, how: int) -> None:
        """The connection's."""
        cast("StreamConn", self._conn).shutdown(how)

    def settimeout(self, seconds: float | None) -> None:
        """The connection's."""
        self._conn.settimeout(seconds)

    def info(self) -> TransferState:
        """The connection's."""
        return self._conn.info()

    def close(self) -> None:
        """The connection's."""
        self._conn.close()

    def abort(self) -> None:
        """The connection's."""
        self._conn.abort()
