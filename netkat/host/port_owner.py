"""The owner of a port, for error messages only (it is slow).

pyroute2 queries sock_diag(7), which since Linux 6.8 also lists sockets that are only bound,
as another netkat's are. Importing pyroute2 takes 250 ms.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from netkat.flow import IPAddress, Protocol

_STATES = {1: "connected", 6: "in TIME_WAIT", 7: "bound", 10: "listening"}
"""TCP_* of net/tcp_states.h that a holder of a port may be in; 7 is what an unconnected UDP
socket shows, and a TCP socket that is only bound."""
_EVERY_STATE = (1 << 14) - 1
"""A bit a state; the last is TCP_BOUND_INACTIVE (Linux 6.8), which older kernels ignore."""


@dataclass(frozen=True, slots=True)
class _Socket:
    local: IPAddress
    port: int
    state: int
    inode: int
    ipv6_only: bool


def port_owner(protocol: Protocol, local: IPAddress, port: int) -> str | None:
    """Return the owning process and its socket's state, or None if no socket is listed.

    Before Linux 6.8 a TCP socket that is bound and neither listens nor is connected is in none
    of the kernel's lists.
    """
    for held in _sockets(protocol):
        if held.port != port or not _overlaps(held, local):
            continue
        state = _STATES.get(held.state, "open")
        where = f"[{held.local}]" if held.local.version == 6 else str(held.local)
        return f"{_process(held.inode)}, {state} on {where}:{port}"
    return None


def _sockets(protocol: Protocol) -> list[_Socket]:
    """In a thread, which has its parent's namespace: pyroute2 runs an event loop, and the caller's
    own may be running here already."""
    found: list[_Socket] = []
    asking = threading.Thread(target=lambda: found.extend(_ask(protocol)), daemon=True)
    asking.start()
    asking.join()
    return found


def _ask(protocol: Protocol) -> Iterator[_Socket]:
    from pyroute2 import DiagSocket
    from pyroute2.netlink.exceptions import NetlinkError

    with suppress(OSError, NetlinkError), DiagSocket() as diag:
        diag.bind()
        for family in (socket.AF_INET, socket.AF_INET6):
            for found in diag.get_sock_stats(family, _EVERY_STATE, protocol):
                address = ip_address(found["idiag_src"])
                yield _Socket(
                    getattr(address, "ipv4_mapped", None) or address,
                    found["idiag_sport"],
                    found["idiag_state"],
                    found["idiag_inode"],
                    bool(found.get_attr("INET_DIAG_SKV6ONLY")),
                )


def _overlaps(held: _Socket, wanted: IPAddress) -> bool:
    if held.local.is_unspecified:
        return held.local.version == wanted.version or (
            held.local.version == 6 and not held.ipv6_only
        )
    return held.local.packed == wanted.packed


def _process(inode: int) -> str:
    if inode:
        wanted = f"socket:[{inode}]"
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                for entry in os.listdir(f"/proc/{pid}/fd"):
                    if os.readlink(f"/proc/{pid}/fd/{entry}") == wanted:
                        with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                            return f"{comm.read().strip()} (pid {pid})"
            except OSError:
                continue  # ended, or not readable
        return "another process"
    return "an orphaned socket"
