"""A small netlink codec: requests, dumps, attributes, errors (RFC 3549, linux/netlink.h).

netkat sends four short requests before its first SYN, and sets a filter in the guard's
tc modes. Importing pyroute2 takes about 200 ms, more than the rest of the start, so a
connect does not import it. Numbers are in host byte order unless a kernel header
specifies another.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from netkat.errors import SetupError
from netkat.resources import Closeable
from netkat.system_calls import is_local, system_call, system_error

if TYPE_CHECKING:
    pass

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12

NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO = 0x1, 0x4, 0x8
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
_NLM_F_DUMP_INTR, _NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLMSGERR_ATTR_MSG = 1
SOL_NETLINK = 270
_NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 11, 12

NLA_F_NESTED = 0x8000
_NLA_TYPE = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")

_BUFFER = 65536
"""The kernel fills at most 32 KiB of a dump at once (net/netlink/af_netlink.c)."""

_PATIENCE = 5.0
"""Seconds for one answer. The kernel answers within the system call; a lock held for
long (rtnl) may delay it, but a question must never hang."""

_DUMP_TRIES = 5
"""A dump during which the table changed is marked and asked again, that often."""


class NetlinkError(SetupError, OSError):
    """The kernel's own refusal; ``errno`` is its code, ``reason`` its words where it gave some."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or os.strerror(code))
        self.errno, self.reason, self.strerror = code, reason, self.message


class Netlink(Closeable):
    """One netlink socket. Cheap (some 10 µs): open it, ask, close it.

    It belongs to the network namespace of the thread that opened it; any thread may ask.
    """

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        with system_call("open a netlink socket (socket)"):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
            )
        self._sequence = itertools.count(1)
        self._lock = threading.Lock()
        try:
            with system_call("set the timeout of a netlink socket (ioctl)"):
                self._socket.settimeout(_PATIENCE)
            for option in (_NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
                # Before Linux 4.12 and 4.20: terser errors, unfiltered dumps.
                with suppress(OSError):
                    self._socket.setsockopt(SOL_NETLINK, option, 1)
        except BaseException:
            self._socket.close()
            raise

    def get(self, kind: int, body: bytes) -> bytes:
        """Ask for one object; the body of the answer. Errors: NetlinkError."""
        with self._lock:
            sequence = self._send(kind, NLM_F_REQUEST, body)
            for answer, _, payload in self._receive(sequence):
                if answer not in (_NLMSG_ERROR, _NLMSG_DONE):
                    return payload
        raise NetlinkError(errno.ENODATA)

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Ask for all objects; their bodies, consistent with each other. Errors: NetlinkError.

        Filters in ``body`` are honoured by kernels with strict checking (4.20);
        the caller filters again.
        """
        for _ in range(_DUMP_TRIES):
            with self._lock:
                bodies, interrupted = self._dump(kind, body)
            if not interrupted:
                break
        return bodies

    def _dump(self, kind: int, body: bytes) -> tuple[list[bytes], bool]:
        sequence = self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
        bodies, interrupted = [], False
        for answer, flags, payload in self._receive(sequence):
            interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
            if answer == _NLMSG_DONE:
                break
            bodies.append(payload)
        return bodies, interrupted

    def ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """A request with flags of its own, acknowledged: the bodies of all answers.

        Errors: NetlinkError.
        """
        if flags & NLM_F_DUMP == NLM_F_DUMP:
            return self.dump(kind, body)
        with self._lock:
            sequence = self._send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)
            bodies = []
            for answer, _, payload in self._receive(sequence):
                if answer == _NLMSG_ERROR:
                    break
                bodies.append(payload)
            return bodies

    def close(self) -> None:
        """Close. Idempotent."""
        self._socket.close()

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        sequence = next(self._sequence)
        length = _HEADER.size + len(body)
        with system_call("send a netlink request (sendto)"):
            self._socket.sendto(_HEADER.pack(length, kind, flags, sequence, 0) + body, (0, 0))
        return sequence

    def _receive(self, sequence: int) -> Iterator[tuple[int, int, bytes]]:
        while True:
            try:
                data, sender = self._socket.recvfrom(_BUFFER)
            except OSError as error:
                # socket's own timeout is its alias, so a signal handler's TimeoutError is another.
                if type(error) is TimeoutError and error.args == ("timed out",):
                    raise NetlinkError(
                        errno.ETIMEDOUT, "the kernel does not answer on netlink"
                    ) from None
                if is_local(error):
                    raise system_error(error, "receive a netlink answer (recvfrom)") from error
                raise
            if sender[0] != 0:
                continue  # any process may send to a netlink port; only port 0 is the kernel
            for kind, flags, number, payload in messages(data):
                if number != sequence:
                    continue
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    _raise_error(flags, payload)
                yield kind, flags, payload


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of each message in a datagram; a cut one ends it."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += length + 3 & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by type, flags stripped; of a repeated one the last. Cut ones end the list."""
    return dict(attribute_list(data, offset))


def attribute_list(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type, value) in order."""
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            return
        yield kind & _NLA_TYPE, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length & 3)


def nested(kind: int, *inside: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inside))


def u32(value: bytes) -> int:
    """A 32-bit attribute in host order."""
    number: int = struct.unpack("=I", value[:4])[0]
    return number


def pack_u32(value: int) -> bytes:
    """The same, for a request."""
    return struct.pack("=I", value)


def text(value: bytes) -> str:
    """A string attribute."""
    return value.rstrip(b"\0").decode(errors="backslashreplace")


def _raise_error(flags: int, payload: bytes) -> None:
    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
    if not code:
        return
    reason = ""
    if flags & _NLM_F_ACK_TLVS:
        # The request is quoted between the code and the attributes, unless capped to its header.
        start = 4 + _HEADER.size
        if not flags & _NLM_F_CAPPED and len(payload) >= start:
            start = 4 + (struct.unpack_from("=I", payload, 4)[0] + 3 & ~3)
        reason = text(attributes(payload, start).get(_NLMSGERR_ATTR_MSG, b""))
    raise NetlinkError(code, reason)
