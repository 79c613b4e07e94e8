"""What rtnetlink reports of changes: interfaces, addresses, routes, policy rules, neighbours."""

from __future__ import annotations

import errno
import select
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netkat import netlink
from netkat.flow import IPAddress
from netkat.host.links import IFINFO
from netkat.host.neighbors import NDMSG, NeighborState, neighbor_of
from netkat.system_calls import is_local, system_call, system_error

_LINK, _NEIGHBOR, _IPV4_ADDRESS, _IPV4_ROUTE, _IPV4_RULE = 1, 3, 5, 7, 8
_IPV6_ADDRESS, _IPV6_ROUTE, _IPV6_RULE, _NEXTHOP = 9, 11, 19, 32
_GROUPS = (
    _LINK,
    _NEIGHBOR,
    _IPV4_ADDRESS,
    _IPV4_ROUTE,
    _IPV4_RULE,
    _IPV6_ADDRESS,
    _IPV6_ROUTE,
    _IPV6_RULE,
    _NEXTHOP,
)
"""RTNLGRP_* of linux/rtnetlink.h."""

_ADD_MEMBERSHIP = 1
_READ = 1 << 16
_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR, _RTM_DELADDR = 16, 17, 20, 21
_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_STATIC = NeighborState.PERMANENT | NeighborState.NOARP


class NeighborChange(NamedTuple):
    """A neighbour's MAC, as the kernel has it now; None where it has none any more."""

    index: int  # type: ignore[assignment]  # a field in place of tuple.index
    address: IPAddress
    mac: bytes | None


class Changed(NamedTuple):
    """What has changed since the last read. ``lost``: the queue was full, so anything may have."""

    links: frozenset[int] = frozenset()
    """Indexes of interfaces that were changed or deleted."""
    deleted: frozenset[int] = frozenset()
    addresses: bool = False
    paths: bool = False
    """Something that decides a route or its fixed MAC."""
    neighbors: tuple[NeighborChange, ...] = ()
    lost: bool = False


class RouteMonitor:
    """Reports changes in the network namespace of the thread that created it.

    The kernel queues a message before the call that makes the change returns. There is none
    for a path MTU that the kernel learned, and for a sysctl.
    """

    def __init__(self) -> None:
        with system_call("open a netlink socket (socket)"):
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                netlink.NETLINK_ROUTE,
            )
        self._poll = select.poll()
        try:
            self._poll.register(self._socket, select.POLLIN)
            with system_call("bind a netlink socket (bind)"):
                self._socket.bind((0, 0))
            for group in _GROUPS:
                self._join(group)
        except BaseException:
            self._socket.close()
            raise

    def _join(self, group: int) -> None:
        try:
            self._socket.setsockopt(netlink.SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            # Without this group a stale route would stay in use. Only errors of a kernel without
            # next hop objects (5.3) or without IPv6 are ignored.
            if is_local(error):
                operation = "subscribe to changes of routes (setsockopt)"
                raise system_error(error, operation) from error

    def fileno(self) -> int:
        """A descriptor that polls readable while pending() is True; -1 once closed."""
        return self._socket.fileno()

    def pending(self) -> bool:
        """Return whether read() would return a change. It costs one system call."""
        return bool(self._poll.poll(0))

    def read(self) -> Changed:
        """Return what has changed since the last call, without waiting."""
        kinds: set[int] = set()
        links: set[int] = set()
        deleted: set[int] = set()
        neighbors: list[NeighborChange] = []
        lost = static = False
        while self.pending():
            try:
                data, sender = self._socket.recvfrom(_READ)
            except OSError as error:
                lost = True
                if error.errno == errno.ENOBUFS:  # more than the queue holds
                    continue
                break
            if sender[0] != 0:
                continue  # any process may send to a netlink port; only port 0 is the kernel
            for kind, _, _, body in netlink.messages(data):
                if kind in (_RTM_NEWLINK, _RTM_DELLINK):
                    family, _, index, _, _ = IFINFO.unpack_from(body)
                    if family != socket.AF_UNSPEC:
                        continue  # a bridge's or IPv6's own view of the interface
                    links.add(index)
                    if kind == _RTM_DELLINK:
                        deleted.add(index)
                elif kind in (_RTM_NEWNEIGH, _RTM_DELNEIGH):
                    change, state = _neighbor_change(kind, body)
                    if change is not None:
                        neighbors.append(change)
                    static = static or bool(state & _STATIC) or kind == _RTM_DELNEIGH
                    continue
                kinds.add(kind)
        return Changed(
            links=frozenset(links),
            deleted=frozenset(deleted),
            addresses=lost or not kinds.isdisjoint((_RTM_NEWADDR, _RTM_DELADDR)),
            paths=lost or static or bool(kinds),
            neighbors=tuple(neighbors),
            lost=lost,
        )

    def close(self) -> None:
        """Close. Idempotent."""
        self._socket.close()


def _neighbor_change(kind: int, body: bytes) -> tuple[NeighborChange | None, int]:
    """The change, unless it is of another table (a bridge's), and the entry's state."""
    family, index, state, _, _ = NDMSG.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None, 0
    packed, entry = neighbor_of(body)
    if packed is None:
        return None, state
    address: IPAddress = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return NeighborChange(index, address, None if kind == _RTM_DELNEIGH else entry.mac), state
