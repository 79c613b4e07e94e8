"""Find and remove the filters of netkat processes that have ended.

A cleanup process removes its netkat's filter, but it may be killed as well, for example when a
whole container ends. The filter then still drops the packets of a flow that has ended.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from netkat.bpf import tc
from netkat.bpf.bpf_errors import to_setup_error
from netkat.bpf.guard.filter_attach import remove_filter
from netkat.bpf.guard.filter_owner import Tag, is_owner_alive, tag_of
from netkat.netlink import Netlink


@dataclass(frozen=True, slots=True)
class Leftover:
    """A filter whose owner is dead, on the interface of this number in this namespace."""

    interface: int
    handle: int
    tag: Tag

    @property
    def name(self) -> str:
        """Return the interface's name, or its number if it was just deleted."""
        try:
            return socket.if_indextoname(self.interface)
        except OSError:
            return str(self.interface)

    def __str__(self) -> str:
        return f"tc filter pref {tc.PREF} bpf handle {self.handle:#x} on {self.name}'s ingress"


def find(interface: int | None = None) -> list[Leftover]:
    """Find leftovers on one interface, or all of this network namespace. Needs no capability."""
    with Netlink() as netlink:
        if interface is None:
            guarded = [qdisc.interface for qdisc in tc.qdiscs(netlink)]
        else:
            guarded = [interface] if tc.qdisc(netlink, interface) is not None else []
        return [
            Leftover(index, found.handle, tag)
            for index in guarded
            for found in tc.filters(netlink, index)
            if (tag := tag_of(found)) is not None and not is_owner_alive(tag.token)
        ]


def remove(interface: int | None = None) -> list[Leftover]:
    """Remove what find() finds, and the clsact qdiscs that netkat added if they are empty.

    Returns what was removed. Errors: MissingCapability (CAP_NET_ADMIN).
    """
    removed = []
    for leftover in find(interface):
        try:
            with Netlink() as netlink:
                if remove_filter(netlink, leftover.interface, leftover.tag.token):
                    removed.append(leftover)
        except OSError as error:
            raise to_setup_error(
                error, f"removing the {leftover}", "cls_bpf", ("CAP_NET_ADMIN",), leftover.name
            ) from None
    return removed
