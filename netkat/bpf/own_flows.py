"""Which flows of this host are netkat's, in whatever process: the keys of every eBPF guard."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from netkat.bpf.sys import Command, Descriptor, address, bpf

NAME = b"netkat_flows"
KEY = struct.Struct("!16s16sHHBBxx")
"""``struct flow_key`` of ingress.c: local and remote address, their ports, protocol, version."""

_INFO = struct.Struct("=IIQ")
_MAP_INFO_LENGTH = 80
_KEY_SIZE = struct.Struct("=8xI")
_NAME = slice(24, 40)
_MOST = 1 << 16


def own_flows() -> set[bytes]:
    """The keys of all guards of this host; empty where this process may not ask (CAP_SYS_ADMIN)."""
    found: set[bytes] = set()
    try:
        for number in _maps():
            found.update(_keys_of(number))
    except OSError:
        return found
    return found


def _maps() -> Iterator[int]:
    number = 0
    while True:
        attributes = bytearray(struct.pack("=III", number, 0, 0))
        try:
            bpf(Command.MAP_GET_NEXT_ID, attributes)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        number = struct.unpack_from("=4xI", attributes)[0]
        yield number


def _keys_of(number: int) -> list[bytes]:
    try:
        owner = Descriptor(
            bpf(Command.MAP_GET_FD_BY_ID, bytearray(struct.pack("=III", number, 0, 0)))
        )
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []  # gone since its number was given
        raise
    try:
        info = bytearray(_MAP_INFO_LENGTH)
        bpf(
            Command.OBJ_GET_INFO_BY_FD,
            bytearray(_INFO.pack(owner.fd, len(info), address(info))),
        )
        if bytes(info[_NAME]).rstrip(b"\0") != NAME or _KEY_SIZE.unpack_from(info)[0] != KEY.size:
            return []
        return list(_keys(owner.fd))
    finally:
        owner.close()


def _keys(fd: int) -> Iterator[bytes]:
    key: bytearray | None = None
    for _ in range(_MOST):
        following = bytearray(KEY.size)
        where = 0 if key is None else address(key)
        try:
            bpf(
                Command.MAP_GET_NEXT_KEY,
                bytearray(struct.pack("=I4xQQQ", fd, where, address(following), 0)),
            )
        except OSError:
            return  # ENOENT: that was the last one
        yield bytes(following)
        key = following
