"""The kernel's neighbour table: the MAC addresses of next hops."""

from __future__ import annotations

import enum
import errno
import socket
import struct
from typing import NamedTuple

from netkat import netlink
from netkat.flow import IPAddress

_RTM_GETNEIGH = 30
_NDA_DST, _NDA_LLADDR = 1, 2
NDMSG = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, interface index, state, flags, type."""
_MAC_LENGTH = 6


class NeighborState(enum.IntEnum):
    """NUD_* of linux/neighbour.h."""

    NONE = 0x00
    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80


FIXED = frozenset({NeighborState.NOARP, NeighborState.PERMANENT})
"""States of entries that the kernel never resolves: an administrator or a driver set them."""


class Neighbor(NamedTuple):
    """One entry; ``mac`` is None while the address is not resolved."""

    mac: bytes | None
    state: NeighborState


def neighbor(index: int, address: IPAddress) -> Neighbor | None:
    """Return the kernel's entry for an address on an interface, or None. Nothing is sent.

    Errors: NetlinkError.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = NDMSG.pack(family, index, 0, 0, 0)
    with netlink.Netlink() as kernel:
        try:
            wanted = body + netlink.attribute(_NDA_DST, address.packed)
            return _parse(kernel.get(_RTM_GETNEIGH, wanted))
        except netlink.NetlinkError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return None
            if error.errno != errno.EOPNOTSUPP:
                raise
        # Before Linux 5.0 there is only the dump.
        for answer in kernel.dump(_RTM_GETNEIGH, NDMSG.pack(family, 0, 0, 0, 0)):
            _, entry_index, _, _, _ = NDMSG.unpack_from(answer)
            found = netlink.attributes(answer, NDMSG.size)
            if entry_index == index and found.get(_NDA_DST) == address.packed:
                return _parse(answer)
    return None


def fixed_mac(index: int, address: IPAddress) -> bytes | None:
    """Return the MAC of a static entry, or None: then the stack resolves the address itself.

    Some links have static entries alone (flannel's VXLAN has no ARP at all).
    """
    entry = neighbor(index, address)
    if entry is None or entry.state not in FIXED:
        return None
    return entry.mac


def neighbor_of(body: bytes) -> tuple[bytes | None, Neighbor]:
    """Return the address and the entry of a message about a neighbour."""
    return netlink.attributes(body, NDMSG.size).get(_NDA_DST), _parse(body)


def _parse(body: bytes) -> Neighbor:
    _, _, state, _, _ = NDMSG.unpack_from(body)
    mac = netlink.attributes(body, NDMSG.size).get(_NDA_LLADDR)
    if mac is not None and len(mac) != _MAC_LENGTH:
        mac = None
    return Neighbor(mac, NeighborState(state))
