"""Flow events: a netkat process announces its flows to the captures of its network namespace.

A multicast on NETLINK_USERSOCK: listening requires CAP_NET_ADMIN, announcing requires nothing,
and without listeners it is one system call of 3 µs a flow. The kernel has put the message into
every listener's queue when the call returns (net/netlink/af_netlink.c, netlink_broadcast), so
an announcement arrives before the flow's first frame, however late the listener reads either.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from netkat.bpf.filters.flow_key import KEY, key_of
from netkat.flow import Flow
from netkat.resources import Closeable

_USERSOCK = 2
_GROUP = 1 << 22
_MESSAGE = struct.Struct("=8sQB7x")
_MAGIC = b"netkat 1"
_BEGUN, _ENDED = 1, 2
_QUEUE = 4 << 20
"""Bytes: some 10,000 flows that begin or end while a capture is busy elsewhere."""
_ROOM = 512
_CREDENTIALS = struct.Struct("=iII")
_SO_RCVBUFFORCE, _SCM_CREDENTIALS = 33, 2
_TABLE = "/proc/thread-self/net/netlink"


def _opened() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _USERSOCK)


class FlowAnnouncer(Closeable):
    """Announces this process's flows in the network namespace that it was made in.

    It never fails: where the kernel takes no message, captures do not mark the frames.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._announced: set[Flow] = set()
        with suppress(OSError):
            self._socket = _opened()
            # Captures send a byte to see whether the socket is open; it is not read.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)

    def announce(self, flow: Flow) -> None:
        """Announce the flow; before its first frame."""
        self._announced.add(flow)
        self._send(_BEGUN, flow)

    def withdraw(self, flow: Flow) -> None:
        """Announce the flow's end; after its last frame. Idempotent."""
        if flow in self._announced:
            self._announced.discard(flow)
            self._send(_ENDED, flow)

    def close(self) -> None:
        """Announce the end of every flow that is left. Idempotent."""
        for flow in list(self._announced):
            self.withdraw(flow)
        if self._socket is not None:
            self._socket.close()

    def _send(self, kind: int, flow: Flow) -> None:
        if self._socket is None:
            return
        # ECONNREFUSED: a multicast is also a unicast to port 0, which has no socket.
        with suppress(OSError):
            self._socket.sendto(
                _MESSAGE.pack(_MAGIC, time.time_ns(), kind) + key_of(flow), (0, _GROUP)
            )


class FlowEvent(NamedTuple):
    """A flow (flow_key.KEY) begins or ends at ``time_ns``; ``announcer`` is a netlink port."""

    key: bytes
    begins: bool
    time_ns: int
    announcer: int


class FlowEventListener(Closeable):
    """Receives the announcements in this network namespace from now on.

    Receives nothing without CAP_NET_ADMIN, and ignores users other than root and this
    process's own: any process may send to a netlink group. Errors: OSError.
    """

    def __init__(self) -> None:
        self._users = {0, os.geteuid()}
        self._socket = _opened()
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
            with suppress(PermissionError):
                self._socket.bind((0, _GROUP))
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Polls readable while events wait."""
        return self._socket.fileno()

    def take(self) -> Iterator[FlowEvent | None]:
        """Yield the events that wait; None where the queue was full and some were lost."""
        while True:
            try:
                data, more, _, sender = self._socket.recvmsg(
                    _ROOM, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    yield None
                    continue
                return
            if len(data) != _MESSAGE.size + KEY.size or not self._trusts(more):
                continue
            magic, sent_at, kind = _MESSAGE.unpack_from(data)
            if magic == _MAGIC and kind in (_BEGUN, _ENDED):
                yield FlowEvent(data[_MESSAGE.size :], kind == _BEGUN, sent_at, sender[0])

    def is_open(self, announcer: int) -> bool:
        """Whether an announcer's socket is open; the kernel closes that of a killed process."""
        try:
            self._socket.sendto(b"\0", socket.MSG_DONTWAIT, (announcer, 0))
        except ConnectionRefusedError:
            return False
        except OSError:
            pass  # a full queue belongs to an open socket
        return True

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._socket.close()

    def _trusts(self, more: list[tuple[int, int, bytes]]) -> bool:
        for level, kind, data in more:
            if (level, kind) == (socket.SOL_SOCKET, _SCM_CREDENTIALS):
                _, user, _ = _CREDENTIALS.unpack_from(data)
                return user in self._users
        return False


def announcers() -> set[int]:
    """Return the netlink ports here that may be announcers': of sockets in no group."""
    found = set()
    with suppress(OSError), open(_TABLE, encoding="ascii") as table:
        for line in table:
            words = line.split()
            if len(words) > 3 and words[1] == str(_USERSOCK) and not int(words[3], 16):
                found.add(int(words[2]))
    return found
