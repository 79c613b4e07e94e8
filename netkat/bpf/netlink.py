"""Requests over rtnetlink, for traffic control (man 7 netlink).

Own code, since the steps that need it are on the way to the first SYN:
importing pyroute2 alone takes 200 ms.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

REQUEST, ACK, ECHO, REPLACE, EXCL, CREATE = 0x1, 0x4, 0x8, 0x100, 0x200, 0x400
DUMP: Final = 0x300

_ERROR, _DONE = 2, 3
_ACK_TLVS = 0x200
_MESSAGE = 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_STATUS = struct.Struct("=i")
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF
_NESTED = 0x8000


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    packed = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return packed + bytes(-len(packed) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by their type; of a repeated one the last."""
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + (-length % 4)
    return found


class Netlink:
    """A socket to rtnetlink, in the network namespace of the thread that made it for good.

    Any thread may ask.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        # The kernel answers at once; a bound all the same, so that nothing can hang.
        self._socket.settimeout(5)
        for option in (_CAP_ACK, _EXT_ACK):
            with suppress(OSError):  # words only; Linux 4.3 and 4.12
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close; more than once is once."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, message: int, flags: int, body: bytes) -> list[bytes]:
        """The bodies of all answers to one request.

        Errors: OSError with the kernel's errno, and its own words where it has some.
        """
        if flags & DUMP != DUMP:
            flags |= ACK
        length = _HEADER.size + len(body)
        with self._lock:
            self._sequence += 1
            header = _HEADER.pack(length, message, REQUEST | flags, self._sequence, 0)
            self._socket.send(header + body)
            return list(self._answers())

    def _answers(self) -> Iterator[bytes]:
        while True:
            data = self._socket.recv(1 << 18)
            at = 0
            while at < len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + length]
                at += length + (-length % 4)
                if sequence != self._sequence:
                    continue
                if kind in (_ERROR, _DONE):
                    _raise_on_error(body, flags, kind)
                    return
                yield body


def _raise_on_error(body: bytes, flags: int, kind: int) -> None:
    number = -_STATUS.unpack_from(body)[0]
    if number <= 0:
        return
    words = b""
    if kind == _ERROR and flags & _ACK_TLVS:
        # Behind the status and the header of the request (its body is left out by CAP_ACK).
        words = attributes(body[_STATUS.size + _HEADER.size :]).get(_MESSAGE, b"")
    text = words.rstrip(b"\0").decode(errors="replace").rstrip(".")
    raise OSError(number, text or os.strerror(number))
