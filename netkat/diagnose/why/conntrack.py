"""Entries of conntrack with their counters, by tuple; and the counters of the whole table.

Only one entry is asked for at a time: a busy node has a hundred thousand.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from netkat import netlink
from netkat.flow import IPAddress
from netkat.host.conntrack import ConntrackTuple, EntryCounter
from netkat.host.routes import address_family, unpack_address
from netkat.netlink import attribute, nested

_CT_GET = 1 << 8 | 1
_ORIGINAL, _REPLY, _STATUS, _ORIGINAL_COUNTERS, _REPLY_COUNTERS = 1, 2, 3, 9, 10
_FILTER, _FILTER_ORIGINAL = 25, 1
_FLAG_DESTINATION, _FLAG_PROTOCOL, _FLAG_PORT = 1 << 1, 1 << 3, 1 << 5
"""CTA_FILTER_F_CTA_IP_DST, _PROTO_NUM, _PROTO_DST_PORT (Linux 5.8)."""
_IP, _PROTO, _SOURCE, _DESTINATION = 1, 2, {4: 1, 6: 3}, {4: 2, 6: 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_COUNTERS_PACKETS = 1
_SEEN_REPLY, _ASSURED = 1 << 1, 1 << 2

_STATISTICS = "/proc/thread-self/net/stat/nf_conntrack"


class Tracked(NamedTuple):
    """One entry. Packet counts are 0 where net.netfilter.nf_conntrack_acct is off."""

    original: ConntrackTuple
    reply: ConntrackTuple
    replied: bool
    packets: int
    reply_packets: int

    @property
    def destination_translated(self) -> bool:
        """Whether NAT sends it elsewhere than the client addressed it to."""
        there = self.original.destination, self.original.destination_port
        return (self.reply.source, self.reply.source_port) != there

    @property
    def source_translated(self) -> bool:
        """Whether NAT gives it another source."""
        here = self.original.source, self.original.source_port
        return (self.reply.destination, self.reply.destination_port) != here


def tracked(protocol: int, wanted: ConntrackTuple) -> Tracked | None:
    """The entry with this tuple in either direction; None without one.

    Errors: NetlinkError (EPERM without CAP_NET_ADMIN).
    """
    version = wanted.source.version
    addresses = nested(
        _IP,
        attribute(_SOURCE[version], wanted.source.packed),
        attribute(_DESTINATION[version], wanted.destination.packed),
    )
    ports = nested(
        _PROTO,
        attribute(_NUMBER, bytes([protocol])),
        attribute(_SOURCE_PORT, wanted.source_port.to_bytes(2, "big")),
        attribute(_DESTINATION_PORT, wanted.destination_port.to_bytes(2, "big")),
    )
    body = _header(wanted.source) + nested(_ORIGINAL, addresses, ports)
    if _unused():
        return None
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as kernel:
        try:
            return _parse(kernel.get(_CT_GET, body))
        except netlink.NetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise


def entries_to(protocol: int, destination: IPAddress, port: int) -> list[Tracked]:
    """Every entry whose client addressed it to this address and port.

    The kernel filters since Linux 5.8; before, the whole table is read.
    """
    version = destination.version
    addresses = nested(_IP, attribute(_DESTINATION[version], destination.packed))
    ports = nested(
        _PROTO,
        attribute(_NUMBER, bytes([protocol])),
        attribute(_DESTINATION_PORT, port.to_bytes(2, "big")),
    )
    flags = netlink.pack_u32(_FLAG_DESTINATION | _FLAG_PROTOCOL | _FLAG_PORT)
    body = (
        _header(destination)
        + nested(_ORIGINAL, addresses, ports)
        + nested(_FILTER, attribute(_FILTER_ORIGINAL, flags))
    )
    if _unused():
        return []
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as kernel:
        try:
            answers = kernel.dump(_CT_GET, body)
        except netlink.NetlinkError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            answers = kernel.dump(_CT_GET, _header(destination))
    found = [entry for entry in map(_parse, answers) if entry is not None]
    return [
        entry
        for entry in found
        if (entry.original.destination, entry.original.destination_port) == (destination, port)
    ]


def statistics() -> dict[str, int]:
    """The table's counters, summed over processors; empty where the kernel shows none."""
    try:
        with open(_STATISTICS, encoding="ascii") as file:
            names, *rows = [line.split() for line in file]
    except (OSError, ValueError):
        return {}
    columns = zip(*([int(cell, 16) for cell in row] for row in rows), strict=False)
    totals = dict(zip(names, map(sum, columns), strict=False))
    return {
        name: totals[name] for name in ("insert_failed", "drop", "early_drop") if name in totals
    }


def _unused() -> bool:
    """Whether this namespace has no entries: then a question would only load kernel modules."""
    census = EntryCounter()
    try:
        return census.empty()
    except OSError:
        return False
    finally:
        census.close()


def _header(address: IPAddress) -> bytes:
    return bytes([address_family(address), 0, 0, 0])


def _parse(body: bytes) -> Tracked | None:
    found = netlink.attributes(body, 4)
    original, reply = _direction(found.get(_ORIGINAL, b"")), _direction(found.get(_REPLY, b""))
    if original is None or reply is None:
        return None
    status = int.from_bytes(found.get(_STATUS, b""), "big")
    return Tracked(
        original,
        reply,
        bool(status & _SEEN_REPLY),
        _packets(found.get(_ORIGINAL_COUNTERS, b"")),
        _packets(found.get(_REPLY_COUNTERS, b"")),
    )


def _direction(data: bytes) -> ConntrackTuple | None:
    parts = netlink.attributes(data)
    ip, transport = (netlink.attributes(parts.get(each, b"")) for each in (_IP, _PROTO))
    version = 4 if _SOURCE[4] in ip else 6
    try:
        return ConntrackTuple(
            unpack_address(ip[_SOURCE[version]]),
            int.from_bytes(transport[_SOURCE_PORT], "big"),
            unpack_address(ip[_DESTINATION[version]]),
            int.from_bytes(transport[_DESTINATION_PORT], "big"),
        )
    except KeyError:
        return None


def _packets(data: bytes) -> int:
    return int.from_bytes(netlink.attributes(data).get(_COUNTERS_PACKETS, b""), "big")
