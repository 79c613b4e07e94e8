"""Whether anything that decides a route has changed: rtnetlink's own news, kept without asking."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

from netkat import netlink
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


class Changes:
    """News of the network namespace of the thread that made it. Nobody has to read them:

    the kernel queues each before the call that made the change returns, and where the
    queue is full it says so. What it has no news of: a path MTU that it learned, and sysctls.
    """

    def __init__(self) -> None:
        with system_call("open a netlink socket (socket)"):
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                netlink.NETLINK_ROUTE,
            )
        self._news = select.poll()
        try:
            self._news.register(self._socket, select.POLLIN)
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
            # Without its news a changed route would be used on: no fault is ignored but that
            # of a kernel without next hop objects (5.3), or without IPv6.
            if is_local(error):
                operation = "subscribe to changes of routes (setsockopt)"
                raise system_error(error, operation) from error

    def seen(self) -> bool:
        """True where anything has changed since the last call."""
        seen = False
        # Asked for each connection: poll(2) says no without an exception.
        while self._news.poll(0):
            seen = True
            with suppress(OSError):  # ENOBUFS: more than the queue holds
                self._socket.recv(_READ)
        return seen

    def close(self) -> None:
        """Close; more than once is once."""
        self._socket.close()
