"""Who holds a port: for the error message only, so it may take its time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from netkat.flow import IPAddress, Protocol

_STATES = {1: "connected", 6: "in TIME_WAIT", 7: "bound", 10: "listening"}
"""TCP_* of net/tcp_states.h that a holder of a port may be in; 7 is what UDP shows unconnected."""


@dataclass(frozen=True, slots=True)
class _Socket:
    local: IPAddress
    port: int
    state: int
    inode: int


def port_owner(protocol: Protocol, local: IPAddress, port: int) -> str | None:
    """The process and what it does there, as far as this process may see; None if nothing shows.

    A socket that is bound and neither listens nor is connected is in none of the
    kernel's lists.
    """
    for held in _sockets(protocol):
        if held.port != port or not _overlaps(held.local, local):
            continue
        state = _STATES.get(held.state, "open")
        where = f"[{held.local}]" if held.local.version == 6 else str(held.local)
        return f"{_process(held.inode)}, {state} on {where}:{port}"
    return None


def _sockets(protocol: Protocol) -> Iterator[_Socket]:
    for name, length in ((str(protocol), 4), (f"{protocol}6", 16)):
        # /proc/net would show the main thread's namespace.
        try:
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as table:
                lines = table.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            yield _Socket(
                _address(address, length), int(port, 16), int(fields[3], 16), int(fields[9])
            )


def _address(hexadecimal: str, length: int) -> IPAddress:
    # procfs prints 32-bit words in host order.
    packed = b"".join(
        int(hexadecimal[start : start + 8], 16).to_bytes(4, sys.byteorder)
        for start in range(0, length * 2, 8)
    )
    if length == 4:
        return IPv4Address(packed)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address


def _overlaps(held: IPAddress, wanted: IPAddress) -> bool:
    # [::] takes IPv4 as well unless IPV6_V6ONLY is set, which does not show.
    if held.is_unspecified:
        return held.version == wanted.version or held.version == 6
    return held.packed == wanted.packed


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
                continue  # ended meanwhile, or not ours to look into
        return "a socket of another process"
    return "a socket that no process holds any more"
