"""Traffic control on one interface's ingress: the clsact qdisc and its filters.

Numbers and layouts: uapi/linux/pkt_sched.h, pkt_cls.h, rtnetlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from netkat.netlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_ECHO,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Netlink,
    attribute,
    attributes,
    nested,
)

PREF: Final = 1
"""The first that filters run in; the newest filter of a pref runs before the older ones."""

SHOT: Final = 2
UNSPEC: Final = 0xFFFFFFFF
"""TC_ACT_SHOT drops; TC_ACT_UNSPEC, -1, goes on to the next filter."""

_NEW_QDISC, _DEL_QDISC, _GET_QDISC = 36, 37, 38
_NEW_FILTER, _DEL_FILTER, _GET_FILTER = 44, 45, 46
_TCMSG = struct.Struct("=BxxxiIII")
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_ETH_P_ALL = 0x0003
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_STATS_QUEUE = 3
_QUEUE = struct.Struct("=5I")
_OPS_LEN, _OPS, _FD, _NAME, _FLAGS, _FLAGS_GEN, _ID = 4, 5, 6, 7, 8, 9, 11
_DIRECT_ACTION = 1
_SKIP_HARDWARE = 1
_FILTER_SIZE = 8


class Qdisc(NamedTuple):
    """The qdisc at an interface's ingress. ``drops``: by all its filters, both directions."""

    interface: int
    kind: str
    drops: int


class Filter(NamedTuple):
    """A filter as the kernel reports it; ``ops`` are cls_bpf's classic instructions."""

    interface: int
    parent: int
    pref: int
    protocol: int
    kind: str
    handle: int
    name: str
    ops: bytes
    program: int

    def __str__(self) -> str:
        program = f" program {self.program}" if self.program else ""
        name = f" {self.name}" if self.name else ""
        return f"tc filter pref {self.pref} {self.kind} handle {self.handle:#x}{program}{name}"

    @property
    def may_share_pref(self) -> bool:
        """False for a filter of another kind or protocol: netkat's cannot have the same pref."""
        return self.kind == "bpf" and self.protocol == _ETH_P_ALL


def qdiscs(netlink: Netlink) -> Iterator[Qdisc]:
    """The ingress and clsact qdiscs of every interface."""
    body = _TCMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for answer in netlink.ask(_GET_QDISC, NLM_F_DUMP, body):
        qdisc = _qdisc(answer)
        if qdisc is not None:
            yield qdisc


def qdisc(netlink: Netlink, interface: int) -> Qdisc | None:
    """The interface's, or None."""
    body = _TCMSG.pack(socket.AF_UNSPEC, interface, 0, _CLSACT, 0)
    try:
        answers = netlink.ask(_GET_QDISC, NLM_F_ECHO, body)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return _qdisc(answers[0]) if answers else None


def _qdisc(answer: bytes) -> Qdisc | None:
    _, interface, _, _, _ = _TCMSG.unpack_from(answer)
    found = attributes(answer[_TCMSG.size :])
    kind = _text(found.get(_KIND, b""))
    if kind not in ("clsact", "ingress"):
        return None
    queue = attributes(found.get(_STATS2, b"")).get(_STATS_QUEUE, b"")
    drops = _QUEUE.unpack_from(queue)[2] if len(queue) >= _QUEUE.size else 0
    return Qdisc(interface, kind, drops)


def add_clsact(netlink: Netlink, interface: int) -> bool:
    """Make the interface's clsact qdisc; False if the interface has one already."""
    body = _TCMSG.pack(socket.AF_UNSPEC, interface, _CLSACT_HANDLE, _CLSACT, 0)
    try:
        netlink.ask(_NEW_QDISC, NLM_F_CREATE | NLM_F_EXCL, body + attribute(_KIND, b"clsact\0"))
    except OSError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def delete_clsact(netlink: Netlink, interface: int) -> None:
    """Delete the interface's clsact qdisc, and with it every filter on it."""
    body = _TCMSG.pack(socket.AF_UNSPEC, interface, _CLSACT_HANDLE, _CLSACT, 0)
    netlink.ask(_DEL_QDISC, 0, body + attribute(_KIND, b"clsact\0"))


def filters(netlink: Netlink, interface: int, *, egress: bool = False) -> list[Filter]:
    """The filters of one direction in the order they run."""
    parent = _EGRESS if egress else _INGRESS
    body = _TCMSG.pack(socket.AF_UNSPEC, interface, 0, parent, 0)
    return [
        found
        for answer in netlink.ask(_GET_FILTER, NLM_F_DUMP, body)
        if (found := _filter(answer)) is not None
    ]


def _filter(answer: bytes) -> Filter | None:
    _, interface, handle, parent, info = _TCMSG.unpack_from(answer)
    found = attributes(answer[_TCMSG.size :])
    kind = _text(found.get(_KIND, b""))
    # Some kinds head their filters with an entry that has neither handle nor options.
    if not handle and _OPTIONS not in found:
        return None
    options = attributes(found.get(_OPTIONS, b"")) if kind == "bpf" else {}
    number = options.get(_ID, b"")
    return Filter(
        interface,
        parent,
        info >> 16,
        socket.ntohs(info & 0xFFFF),
        kind,
        handle,
        _text(options.get(_NAME, b"")),
        options.get(_OPS, b""),
        struct.unpack("=I", number)[0] if number else 0,
    )


def set_program(netlink: Netlink, interface: int, handle: int, program_fd: int, name: str) -> None:
    """Add a direct-action filter of an eBPF program, first in line. Errors: OSError (EEXIST)."""
    _set(
        netlink,
        interface,
        handle,
        NLM_F_CREATE | NLM_F_EXCL,
        attribute(_FD, struct.pack("=I", program_fd)),
        attribute(_NAME, name.encode() + b"\0"),
    )


def set_classic(
    netlink: Netlink, interface: int, handle: int, ops: bytes, *, replace: bool = False
) -> None:
    """Add a direct-action filter of classic BPF, first in line, or replace it in one operation.

    ``ops`` are struct sock_filter, 8 bytes each.
    Errors: OSError (EEXIST; with replace ENOENT).
    """
    _set(
        netlink,
        interface,
        handle,
        NLM_F_REPLACE if replace else NLM_F_CREATE | NLM_F_EXCL,
        attribute(_OPS_LEN, struct.pack("=H", len(ops) // _FILTER_SIZE)),
        attribute(_OPS, ops),
    )


def _set(netlink: Netlink, interface: int, handle: int, flags: int, *program: bytes) -> None:
    options = nested(
        _OPTIONS,
        *program,
        attribute(_FLAGS, struct.pack("=I", _DIRECT_ACTION)),
        # A copy in the NIC would drop the packets before the packet socket sees them.
        attribute(_FLAGS_GEN, struct.pack("=I", _SKIP_HARDWARE)),
    )
    body = _TCMSG.pack(socket.AF_UNSPEC, interface, handle, _INGRESS, _info(PREF, _ETH_P_ALL))
    netlink.ask(_NEW_FILTER, flags, body + attribute(_KIND, b"bpf\0") + options)


def delete_filter(netlink: Netlink, found: Filter) -> None:
    """Delete exactly this filter. Errors: OSError (ENOENT)."""
    body = _TCMSG.pack(
        socket.AF_UNSPEC,
        found.interface,
        found.handle,
        found.parent,
        _info(found.pref, found.protocol),
    )
    netlink.ask(_DEL_FILTER, 0, body + attribute(_KIND, found.kind.encode() + b"\0"))


def _info(pref: int, protocol: int) -> int:
    return pref << 16 | socket.htons(protocol)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
