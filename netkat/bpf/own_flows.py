"""The flows of all netkat processes, read from their socket filters and guard maps.

A classic filter carries its flows after its last return (embedded_flows.py), and sock_diag(7)
returns it to processes with CAP_NET_ADMIN. Beside an eBPF guard the filter is eBPF and has
none: the guard's map has them, which requires CAP_SYS_ADMIN.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from netkat import netlink
from netkat.bpf.bpf_syscall import Command, Descriptor, address, bpf
from netkat.bpf.filters.embedded_flows import flows_in
from netkat.bpf.filters.flow_key import KEY

NAME = b"netkat_flows"

_INFO = struct.Struct("=IIQ")
_MAP_INFO_LENGTH = 80
_KEY_SIZE = struct.Struct("=8xI")
_NAME = slice(24, 40)
_MOST = 1 << 16

_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_AF_PACKET = 17
_SHOW_FILTER, _FILTER = 0x20, 7
"""PACKET_SHOW_FILTER and PACKET_DIAG_FILTER of linux/packet_diag.h."""
_REQUEST = struct.pack("=BBHIIII", _AF_PACKET, 0, 0, 0, _SHOW_FILTER, 0, 0)
_ANSWER_LENGTH = 16


def own_flows() -> set[bytes]:
    """Return keys (flow_key.KEY) of netkat's flows in this network namespace, and of all guards.

    Only what this process may read, which may be nothing. Call it in the namespace.
    """
    return {*_by_filters(), *_by_maps()}


def _by_filters() -> set[bytes]:
    found: set[bytes] = set()
    try:
        with netlink.Netlink(_SOCK_DIAG) as kernel:
            answers = kernel.dump(_SOCK_DIAG_BY_FAMILY, _REQUEST)
    except OSError:
        return found
    for answer in answers:
        program = netlink.attributes(answer, _ANSWER_LENGTH).get(_FILTER, b"")
        for version, protocol, local, local_port, remote, remote_port in flows_in(program):
            found.add(KEY.pack(local, remote, local_port, remote_port, protocol, version, 0))
    return found


def _by_maps() -> set[bytes]:
    found: set[bytes] = set()
    try:
        for number in _maps():
            found.update(_keys_of(number))
    except OSError:
        pass
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
