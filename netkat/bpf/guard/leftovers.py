"""Filters of netkats that are gone: found, and taken away.

A cleanup process removes its netkat's filter, but it may be killed as well, as when a
whole container ends. What is left then drops the packets of a flow that no
longer is, until this.
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
        """The interface's name, or its number when it has just gone."""
        try:
            return socket.if_indextoname(self.interface)
        except OSError:
            return str(self.interface)

    def __str__(self) -> str:
        return f"tc filter pref {tc.PREF} bpf handle {self.handle:#x} on {self.name}'s ingress"


def find(interface: int | None = None) -> list[Leftover]:
    """On one interface, or on all of this thread's network namespace. Needs no capability."""
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
    """Take away what find() finds, and clsact qdiscs made for it when nothing else uses them.

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
