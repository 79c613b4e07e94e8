"""Attach, replace and remove netkat's tc filter on an interface's clsact."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from netkat.bpf import tc
from netkat.bpf.guard.filter_owner import HANDLE, Tag, tag_of
from netkat.netlink import Netlink

_GONE = (errno.ENOENT, errno.ENODEV, errno.EINVAL)
"""Errors of a deletion after the filter, the interface or the qdisc was deleted already."""

_TRIES = 16


class FilterPlace:
    """netkat's filter on one interface. Requires CAP_NET_ADMIN. Errors: OSError."""

    def __init__(self, interface: int, token: str) -> None:
        self._interface, self._token = interface, token
        self._netlink = Netlink()
        self._made_qdisc = False
        self._handle = 0

    def put_program(self, program_fd: int) -> None:
        """Attach an eBPF program, first in line."""
        tag = self._prepare()
        self._put(
            lambda handle: tc.set_program(
                self._netlink, self._interface, handle, program_fd, tag.name()
            )
        )

    def put_classic(self, ops: bytes) -> None:
        """Attach a classic program, first in line."""
        tag = self._prepare()
        self._put(
            lambda handle: tc.set_classic(self._netlink, self._interface, handle, ops + tag.ops())
        )

    def replace_classic(self, ops: bytes) -> None:
        """Replace the classic program in one operation."""
        tag = Tag(self._token, self._made_qdisc)
        tc.set_classic(self._netlink, self._interface, self._handle, ops + tag.ops(), replace=True)

    def remove(self) -> None:
        """Remove this filter, and the qdisc if netkat made it and it is empty."""
        try:
            remove_filter(self._netlink, self._interface, self._token)
        finally:
            self._netlink.close()

    def _prepare(self) -> Tag:
        self._made_qdisc = tc.add_clsact(self._netlink, self._interface)
        if not self._made_qdisc:
            # Another netkat made it: the last one to end may remove it.
            tags = (tag_of(found) for found in tc.filters(self._netlink, self._interface))
            self._made_qdisc = any(tag is not None and tag.made_qdisc for tag in tags)
        return Tag(self._token, self._made_qdisc)

    def _put(self, put: Callable[[int], None]) -> None:
        try:
            for left in reversed(range(_TRIES)):
                self._handle = HANDLE | int.from_bytes(os.urandom(2), "little")
                try:
                    put(self._handle)
                    return
                except OSError as error:
                    if error.errno != errno.EEXIST or not left:
                        raise
        except BaseException:
            if self._made_qdisc:
                _delete_if_empty(self._netlink, self._interface)
            raise


def remove_filter(netlink: Netlink, interface: int, token: str) -> bool:
    """Delete the token's filters; True when there was one. Errors: OSError."""
    found = False
    made_qdisc = False
    try:
        for each in tc.filters(netlink, interface):
            tag = tag_of(each)
            if tag is None or tag.token != token:
                continue
            tc.delete_filter(netlink, each)
            found = True
            made_qdisc = made_qdisc or tag.made_qdisc
        if made_qdisc:
            _delete_if_empty(netlink, interface)
    except OSError as error:
        if error.errno not in _GONE:
            raise
    return found


def _delete_if_empty(netlink: Netlink, interface: int) -> None:
    # Another process may add a filter between the check and the deletion: rtnetlink
    # has no request for both.
    if tc.filters(netlink, interface) or tc.filters(netlink, interface, egress=True):
        return
    tc.delete_clsact(netlink, interface)
