"""A file or a pipe sent by a TCP connection without its bytes coming through Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netkat.conn.stream import TcpConnection
from netkat.stack.codes import SourceFailed, StackError, WireFailed

if TYPE_CHECKING:
    from netkat.stack import Poured

__all__ = ["Pour", "SourceFailed", "pouring"]

Pour = Callable[[int], "Poured"]
"""Sends from a descriptor for a moment (a tenth of a second). Errors: as TcpConnection.send;
SourceFailed."""


def pouring(conn: object) -> Pour | None:
    """How to do that with ``conn``; None where its bytes have to pass by, as with TLS."""
    if not isinstance(conn, TcpConnection):
        return None
    session = conn._session
    pour_from: Pour | None = getattr(session, "pour_from", None)
    if pour_from is None:  # a kernel socket's
        return None

    def pour(descriptor: int) -> Poured:
        conn._check_open()
        try:
            poured = pour_from(descriptor)
        except StackError as error:
            conn._check_open()  # closed by another thread just now
            raise session.fault(error) from None
        except WireFailed as failed:
            raise conn._interface_fault(failed) from None
        if not poured.taken:
            conn.raise_fault()
        return poured

    return pour
