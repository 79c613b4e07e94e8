"""What a netkat sends on, told to every capture of its network namespace as it begins and ends.

A multicast on NETLINK_USERSOCK: who listens takes CAP_NET_ADMIN, who tells takes nothing, and
where nobody listens it is one system call of 3 µs a flow. The kernel has put the message into
every listener's queue when the call returns (net/netlink/af_netlink.c, netlink_broadcast), so
a flow's beginning is there before its first frame, however late the listener reads either.
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

from netkat.bpf.flow_key import KEY, key_of
from netkat.closing import Closing
from netkat.flow import Flow

_USERSOCK = 2
_GROUP = 1 << 22
_MESSAGE = struct.Struct("=8sQB7x")
_MAGIC = b"netkat 1"
_BEGINS, _ENDS = 1, 2
_QUEUE = 4 << 20
"""Bytes: some 10,000 flows that begin or end while a capture is busy elsewhere."""
_ROOM = 512
_CREDENTIALS = struct.Struct("=iII")
_SO_RCVBUFFORCE, _SCM_CREDENTIALS = 33, 2
_TABLE = "/proc/thread-self/net/netlink"


def _opened() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _USERSOCK)


class Teller(Closing):
    """Tells of this process's flows in the network namespace that it was made in.

    Nothing fails by it: where the kernel takes no message, captures lack marks.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._told: set[Flow] = set()
        with suppress(OSError):
            self._socket = _opened()
            # Captures knock to see whether we still are; nobody reads that.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)

    def begins(self, flow: Flow) -> None:
        """Before the flow's first frame."""
        self._told.add(flow)
        self._tell(_BEGINS, flow)

    def ends(self, flow: Flow) -> None:
        """After its last; once more is nothing."""
        if flow in self._told:
            self._told.discard(flow)
            self._tell(_ENDS, flow)

    def close(self) -> None:
        """End what has not ended; more than once is once."""
        for flow in list(self._told):
            self.ends(flow)
        if self._socket is not None:
            self._socket.close()

    def _tell(self, kind: int, flow: Flow) -> None:
        if self._socket is None:
            return
        # ECONNREFUSED: a multicast is a unicast to port 0 as well, where nobody is.
        with suppress(OSError):
            self._socket.sendto(
                _MESSAGE.pack(_MAGIC, time.time_ns(), kind) + key_of(flow), (0, _GROUP)
            )


class News(NamedTuple):
    """A flow (flow_key.KEY) begins or ends at ``time_ns``: so says the netkat of a netlink port."""

    key: bytes
    begins: bool
    time_ns: int
    teller: int


class Listener(Closing):
    """Hears what tellers of this network namespace say from now on.

    Deaf without CAP_NET_ADMIN, and to users other than root and this process's own:
    anybody may send to a netlink group. Errors: OSError.
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
        """Polls readable while there is news."""
        return self._socket.fileno()

    def take(self) -> Iterator[News | None]:
        """What was said and not taken yet; None where some was lost: too much at once."""
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
            magic, told_at, kind = _MESSAGE.unpack_from(data)
            if magic == _MAGIC and kind in (_BEGINS, _ENDS):
                yield News(data[_MESSAGE.size :], kind == _BEGINS, told_at, sender[0])

    def is_there(self, teller: int) -> bool:
        """Whether a teller's socket is still open: the kernel closes that of a killed one, too."""
        try:
            self._socket.sendto(b"\0", socket.MSG_DONTWAIT, (teller, 0))
        except ConnectionRefusedError:
            return False
        except OSError:
            pass  # a full queue is somebody's
        return True

    def close(self) -> None:
        """Stop listening; more than once is once."""
        self._socket.close()

    def _trusts(self, more: list[tuple[int, int, bytes]]) -> bool:
        for level, kind, data in more:
            if (level, kind) == (socket.SOL_SOCKET, _SCM_CREDENTIALS):
                _, user, _ = _CREDENTIALS.unpack_from(data)
                return user in self._users
        return False


def tellers() -> set[int]:
    """Netlink ports in this network namespace that may be tellers': of sockets in no group."""
    found = set()
    with suppress(OSError), open(_TABLE, encoding="ascii") as table:
        for line in table:
            words = line.split()
            if len(words) > 3 and words[1] == str(_USERSOCK) and not int(words[3], 16):
                found.add(int(words[2]))
    return found
