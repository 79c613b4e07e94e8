"""A wait on a connection that a deadline or the caller's cancel descriptor ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.engine.bypass import Cancelled
from netkat.engine.wait import wait_readable
from netkat.errors import TimedOut
from netkat.stack.codes import WouldBlock

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.conn.stream import TcpConnection


def receive_by(
    conn: TcpConnection, buffer: Buffer, deadline: float | None, cancel_fd: int | None = None
) -> int:
    """As conn.recv_into, until the monotonic ``deadline`` (None: no limit), whatever its timeout.

    Errors: TimedOut, Cancelled when ``cancel_fd`` polls readable, and those of recv_into.
    """
    before = conn.gettimeout()
    conn.settimeout(0.0)
    try:
        while True:
            try:
                return conn.recv_into(buffer)
            except WouldBlock:
                pass
            ours = conn.readable_fileno()
            ready = wait_readable((ours, conn.fault_fileno(), cancel_fd), deadline)
            conn.raise_fault()
            if cancel_fd in ready:
                raise Cancelled
            if not ready:
                raise TimedOut("timed out")
    finally:
        conn.settimeout(before)
