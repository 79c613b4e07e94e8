"""Find conntrack entries that use a local port (linux/netfilter/nfnetlink_conntrack.h).

A masqueraded pod's flow has no socket: the node's own bind() does not see it,
yet its replies arrive at the node's address and port. A guard on that five-tuple
would break the pod's connection.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from typing import NamedTuple

from netkat import netlink
from netkat.errors import MissingCapability
from netkat.flow import IPAddress, Protocol
from netkat.host.routes import address_family, unpack_address

_CT_GET = 1 << 8 | 1
"""NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET."""

_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY = 1, 2
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_SRC, _CTA_IP_DST = {4: 1, 6: 3}, {4: 2, 6: 4}
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3
_NFGENMSG = 4

_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"


class ConntrackTuple(NamedTuple):
    """One direction of an entry: what a packet of it carries."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int

    def __str__(self) -> str:
        source = _end(self.source, self.source_port)
        return f"{source} → {_end(self.destination, self.destination_port)}"

    def reverse(self) -> ConntrackTuple:
        """Return the tuple of a reply without NAT."""
        return ConntrackTuple(
            self.destination, self.destination_port, self.source, self.source_port
        )


class Entry(NamedTuple):
    """One conntrack entry."""

    protocol: int
    original: ConntrackTuple
    reply: ConntrackTuple

    @property
    def translated(self) -> bool:
        """Whether NAT rewrites its packets."""
        return self.reply != self.original.reverse()

    def __str__(self) -> str:
        kind = "masqueraded " if self.translated else ""
        return f"a conntrack entry of the {kind}flow {self.original}"


def find_entry(
    protocol: Protocol,
    local: IPAddress,
    local_port: int,
    remote: IPAddress | None = None,
    remote_port: int = 0,
    census: EntryCounter | None = None,
) -> Entry | None:
    """Find an entry for packets between these endpoints, in either direction; None without one.

    Without ``remote`` any peer matches, which reads the whole table. Only
    conntrack's default zone is searched. ``census`` saves time for repeated calls.
    Errors: MissingCapability (CAP_NET_ADMIN), NetlinkError.
    """
    if not _in_use(census):
        return None
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as kernel:
        try:
            if remote is None:
                return _search(kernel, protocol, local, local_port)
            outgoing = ConntrackTuple(local, local_port, remote, remote_port)
            # One hash holds both directions of every entry, so one question finds
            # an entry whichever of its directions this tuple is.
            return _lookup(kernel, protocol, outgoing.reverse()) or _lookup(
                kernel, protocol, outgoing
            )
        except netlink.NetlinkError as error:
            if error.errno != errno.EPERM:
                raise
            raise MissingCapability(
                "querying conntrack requires CAP_NET_ADMIN", capability="CAP_NET_ADMIN"
            ) from None


class EntryCounter:
    """Reads the number of entries in the network namespace of the thread that first calls empty().

    Thread-safe, also after close().
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = -1
        self._closed = False

    def empty(self) -> bool:
        """Return whether the table is empty. Errors: OSError if the count cannot be read."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the entry counter is closed")
            if self._descriptor < 0:
                try:
                    self._descriptor = os.open(_COUNT, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return True
            return os.pread(self._descriptor, 32, 0).strip() == b"0"

    def close(self) -> None:
        """Close. Idempotent."""
        with self._lock:
            self._closed = True
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


def _in_use(census: EntryCounter | None) -> bool:
    """False where no entry can be: asking would load the conntrack modules."""
    asked = census or EntryCounter()
    try:
        return not asked.empty()
    except OSError:
        return True
    finally:
        if census is None:
            asked.close()


def _lookup(kernel: netlink.Netlink, protocol: Protocol, wanted: ConntrackTuple) -> Entry | None:
    version = wanted.source.version
    addresses = netlink.nested(
        _CTA_TUPLE_IP,
        netlink.attribute(_CTA_IP_SRC[version], wanted.source.packed),
        netlink.attribute(_CTA_IP_DST[version], wanted.destination.packed),
    )
    ports = netlink.nested(
        _CTA_TUPLE_PROTO,
        netlink.attribute(_CTA_PROTO_NUM, bytes([protocol])),
        netlink.attribute(_CTA_PROTO_SRC_PORT, wanted.source_port.to_bytes(2, "big")),
        netlink.attribute(_CTA_PROTO_DST_PORT, wanted.destination_port.to_bytes(2, "big")),
    )
    body = _family(wanted.source) + netlink.nested(_CTA_TUPLE_ORIG, addresses, ports)
    try:
        return _parse(kernel.get(_CT_GET, body))
    except netlink.NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _search(
    kernel: netlink.Netlink, protocol: Protocol, local: IPAddress, port: int
) -> Entry | None:
    for entry in _all(kernel, local):
        if entry.protocol != protocol:
            continue
        for direction in (entry.original, entry.reply):
            if direction.destination.packed == local.packed and direction.destination_port == port:
                return entry
    return None


def _all(kernel: netlink.Netlink, local: IPAddress) -> Iterator[Entry]:
    for body in kernel.dump(_CT_GET, _family(local)):
        entry = _parse(body)
        if entry is not None:
            yield entry


def _family(address: IPAddress) -> bytes:
    return bytes([address_family(address), 0, 0, 0])


def _parse(body: bytes) -> Entry | None:
    found = netlink.attributes(body, _NFGENMSG)
    original = _direction(found.get(_CTA_TUPLE_ORIG, b""))
    reply = _direction(found.get(_CTA_TUPLE_REPLY, b""))
    if original is None or reply is None:
        return None
    return Entry(original[0], original[1], reply[1])


def _direction(data: bytes) -> tuple[int, ConntrackTuple] | None:
    parts = netlink.attributes(data)
    ip = netlink.attributes(parts.get(_CTA_TUPLE_IP, b""))
    transport = netlink.attributes(parts.get(_CTA_TUPLE_PROTO, b""))
    version = 4 if _CTA_IP_SRC[4] in ip else 6
    try:
        return transport[_CTA_PROTO_NUM][0], ConntrackTuple(
            unpack_address(ip[_CTA_IP_SRC[version]]),
            int.from_bytes(transport[_CTA_PROTO_SRC_PORT], "big"),
            unpack_address(ip[_CTA_IP_DST[version]]),
            int.from_bytes(transport[_CTA_PROTO_DST_PORT], "big"),
        )
    except KeyError:
        return None  # a protocol without ports


def _end(address: IPAddress, port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
