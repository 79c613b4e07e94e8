"""The owner of a tc filter, and whether that process still runs.

A tc filter outlives its process, so netkat's filters carry a random token. The owner
holds an abstract Unix socket of that name. Such names belong to the network namespace,
as filters do, are visible from every PID namespace (two pods on the host's network) and
are removed when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import Final

from netkat.bpf.tc import Filter

HANDLE: Final = 0x6E6B0000
"""Handles of netkat's filters begin with "nk", as ``tc filter show`` prints them."""

_NAME = re.compile(r"netkat:([0-9a-f]{16}):(q?)")
_MAGIC = 0x6E65746B
_LOAD_IMMEDIATE, _RETURN = 0x00, 0x06
_OP = struct.Struct("=HBBI")


@dataclass(frozen=True, slots=True)
class Tag:
    """The owner's token. ``made_qdisc``: netkat added the qdisc, and deletes it once empty."""

    token: str
    made_qdisc: bool

    def name(self) -> str:
        """Return the tag as the name of an eBPF filter."""
        return f"netkat:{self.token}:{'q' if self.made_qdisc else ''}"

    def ops(self) -> bytes:
        """Return the tag as unreachable classic instructions, since a classic filter has no name.

        They end in a return, as the kernel requires of a program's last instruction.
        """
        number = int(self.token, 16)
        values = (_MAGIC, number >> 32, number & 0xFFFFFFFF, int(self.made_qdisc))
        loads = b"".join(_OP.pack(_LOAD_IMMEDIATE, 0, 0, value) for value in values)
        return loads + _OP.pack(_RETURN, 0, 0, 0xFFFFFFFF)


_TAG_SIZE = 5 * _OP.size


def tag_of(found: Filter) -> Tag | None:
    """Return the tag of a netkat filter; None for other filters."""
    if found.handle & 0xFFFF0000 != HANDLE or found.kind != "bpf":
        return None
    if match := _NAME.fullmatch(found.name):
        return Tag(match[1], match[2] == "q")
    tail = found.ops[-_TAG_SIZE:]
    if len(tail) < _TAG_SIZE:
        return None
    magic, high, low, made = (values[3] for values in list(_OP.iter_unpack(tail))[:4])
    tag = Tag(f"{high << 32 | low:016x}", bool(made))
    return tag if magic == _MAGIC and tail == tag.ops() else None


class FilterOwner:
    """A random token, marked as in use in this thread's network namespace until close()."""

    def __init__(self) -> None:
        self.token = os.urandom(8).hex()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(_abstract(self.token))

    def close(self) -> None:
        """Mark the token as unused. Idempotent."""
        self._socket.close()


def is_owner_alive(token: str) -> bool:
    """Return whether the owner of a token still runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(_abstract(token))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def _abstract(token: str) -> str:
    return f"\0netkat-guard-{token}"
