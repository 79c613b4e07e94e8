"""Rule traces: what NFNLGRP_NFTRACE reports of packets that a rule has marked (nf_tables_trace.c).

One event for each rule that matched, each verdict and each policy. The packet's headers come with
the first event of each base chain.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import NamedTuple

from netkat import netlink
from netkat.diagnose.why.nft import uapi
from netkat.resources import Closeable

_GROUP_NFTRACE = 9
_ADD_MEMBERSHIP = 1
_SO_RCVBUFFORCE = 33
_QUEUE = 4 << 20
"""Bytes: some thousand events, so that a probe with retransmissions loses none."""

(_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _, _NETWORK, _TRANSPORT) = range(1, 10)
_IIF, _OIF, _MARK, _NFPROTO, _POLICY = 10, 12, 14, 15, 16
_KINDS = {1: "policy", 2: "return", 3: "rule"}


class TraceEvent(NamedTuple):
    """One step of one packet. ``packet`` is the same number for all steps of it.

    ``kind`` is "rule", "policy" or "return". ``handle`` is 0 where no rule is meant, ``jump``
    the chain that a jump or goto leads to. ``network`` and ``transport`` are headers, empty but
    in the first event of each base chain; interfaces are indices, 0 where there is none.
    """

    packet: int
    family: int
    table: str
    chain: str
    kind: str
    handle: int
    verdict: uapi.Verdict | None
    jump: str
    network: bytes
    transport: bytes
    iif: int
    oif: int
    mark: int


class TraceSocket(Closeable):
    """Hears every trace of the network namespace that it was opened in. Needs CAP_NET_ADMIN."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.NETLINK_NETFILTER
        )
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
            self._socket.setsockopt(netlink.SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
        except BaseException:
            self._socket.close()
            raise
        self.lost = False
        """Whether the queue overflowed, so that events are missing."""

    def fileno(self) -> int:
        """Polls readable while events wait."""
        return self._socket.fileno()

    def take(self, wait: float = 0.0) -> list[TraceEvent]:
        """The events that wait, and those that come within ``wait`` seconds."""
        found: list[TraceEvent] = []
        end = time.monotonic() + wait
        while True:
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._socket], [], [], left)
            if not ready:
                return found
            found += self._receive()

    def _receive(self) -> list[TraceEvent]:
        try:
            data = self._socket.recv(1 << 17)
        except OSError:  # ENOBUFS
            self.lost = True
            return []
        return [
            event_of(body)
            for kind, _, _, body in netlink.messages(data)
            if kind == uapi.NFT | uapi.TRACE
        ]

    def close(self) -> None:
        """Close; idempotent."""
        self._socket.close()


def event_of(body: bytes) -> TraceEvent:
    """A message's body as an event."""
    found = netlink.attributes(body, uapi.NFGENMSG.size)
    verdict, jump = _verdict(found.get(_VERDICT, b""))
    policy = uapi.number(found.get(_POLICY))
    if policy is not None:
        verdict = uapi.Verdict.ACCEPT if policy else uapi.Verdict.DROP
    return TraceEvent(
        packet=uapi.number(found.get(_ID)) or 0,
        family=body[0] if body else 0,
        table=netlink.text(found.get(_TABLE, b"")),
        chain=netlink.text(found.get(_CHAIN, b"")),
        kind=_KINDS.get(uapi.number(found.get(_TYPE)) or 0, "?"),
        handle=uapi.number(found.get(_HANDLE)) or 0,
        verdict=verdict,
        jump=jump,
        network=found.get(_NETWORK, b""),
        transport=found.get(_TRANSPORT, b""),
        iif=uapi.number(found.get(_IIF)) or 0,
        oif=uapi.number(found.get(_OIF)) or 0,
        mark=uapi.number(found.get(_MARK)) or 0,
    )


def _verdict(data: bytes) -> tuple[uapi.Verdict | None, str]:
    found = netlink.attributes(data)
    if uapi.VERDICT_CODE not in found:
        return None, ""
    code = struct.unpack("!i", found[uapi.VERDICT_CODE])[0]
    return uapi.verdict_of(code), netlink.text(found.get(uapi.VERDICT_CHAIN, b""))
