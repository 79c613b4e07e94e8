"""The hooks on an interface's egress that may drop frames: tc, tcx and nft netdev.

All three see what a packet socket sends (net/core/dev.c, __dev_queue_xmit), and
each makes the send fail with ENOBUFS, which does not name the hook.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from netkat.bpf import tc
from netkat.bpf.guard.tcx import EGRESS, attached
from netkat.bpf.program import name_of
from netkat.netlink import NETLINK_NETFILTER, Netlink, attribute_list, attributes, text

_GET_CHAIN: Final = 10 << 8 | 4
"""NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN (linux/netfilter/nfnetlink.h, nf_tables.h)."""
_NFGENMSG = struct.Struct("!BBH")
_NFPROTO_NETDEV, _NF_NETDEV_EGRESS = 5, 1
_TABLE, _NAME, _HOOK = 1, 3, 4
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEV, _HOOK_DEVS = 1, 2, 3, 4

_NOT_ALLOWED = frozenset({errno.EPERM, errno.EACCES})


class EgressHooks(NamedTuple):
    """``found`` describes each egress hook; ``unseen`` are kinds that this process may not list."""

    found: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


def egress_hooks(interface: int, *, load_modules: bool = False) -> EgressHooks:
    """List the egress hooks of one interface in this thread's network namespace.

    Any process may list tc filters; tcx programs and nft chains require CAP_NET_ADMIN.
    A query to nftables loads its modules. Without ``load_modules`` a kernel that has not loaded
    them counts as one without chains.
    """
    found: list[str] = []
    unseen: list[str] = []
    kinds: list[tuple[str, Callable[[int], Iterator[str]]]] = [
        ("tc filters", _tc),
        ("tcx programs", _tcx),
    ]
    if load_modules or _nf_tables_is_loaded():
        kinds.append(("nft chains", _nft))
    for kind, look in kinds:
        try:
            found += look(interface)
        except OSError as error:
            if error.errno in _NOT_ALLOWED:
                unseen.append(kind)
            # Anything else: this kernel has no such hooks.
    return EgressHooks(tuple(found), tuple(unseen))


def _tc(interface: int) -> Iterator[str]:
    with Netlink() as netlink:
        if tc.qdisc(netlink, interface) is None:
            return
        for found in tc.filters(netlink, interface, egress=True):
            yield str(found)


def _tcx(interface: int) -> Iterator[str]:
    for number in attached(interface, EGRESS):
        name = name_of(number)
        yield f"tcx program {number}" + (f" {name}" if name else "")


def _nft(interface: int) -> Iterator[str]:
    name = socket.if_indextoname(interface)
    with Netlink(NETLINK_NETFILTER) as netlink:
        chains = netlink.dump(_GET_CHAIN, _NFGENMSG.pack(_NFPROTO_NETDEV, 0, 0))
    for chain in chains:
        if chain[0] != _NFPROTO_NETDEV:
            continue
        found = attributes(chain, _NFGENMSG.size)
        hook = attributes(found.get(_HOOK, b""))
        if _number(hook.get(_HOOK_NUMBER)) != _NF_NETDEV_EGRESS or name not in _devices(hook):
            continue
        table, called = text(found.get(_TABLE, b"")), text(found.get(_NAME, b""))
        yield f"nft chain netdev {table} {called} (priority {_number(hook.get(_HOOK_PRIORITY))})"


def _devices(hook: dict[int, bytes]) -> set[str]:
    one = {text(hook[_HOOK_DEV])} if _HOOK_DEV in hook else set()
    return one | {text(name) for _, name in attribute_list(hook.get(_HOOK_DEVS, b""))}


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big", signed=True)


def _nf_tables_is_loaded() -> bool:
    # A kernel without module support has it built in, or not at all.
    return os.path.exists("/sys/module/nf_tables") or not os.path.exists("/proc/modules")
