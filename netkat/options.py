"""What a caller may ask about a connection's path and packets: one record for each.

The command line and the library fill them in; every layer below passes them on unchanged.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from netkat.errors import BadArgument
from netkat.flow import IPAddress

GUARD_MODES = ("auto", "tcx", "clsact", "cbpf", "socket", "none")
"""The values of --guard, best first; auto takes the first that works."""


class PathOptions(NamedTuple):
    """How packets leave this host, and from which address. None is the host's own choice.

    ``via`` is a next hop, as an address or as a MAC; ``table`` a routing table that is used
    in place of the policy rules; ``claim`` a source address that this host does not have.
    ``netns``, ``claim``, ``guard`` and ``qdisc_bypass`` hold for all connections that share
    an attachment to an interface, the others may differ between two connections.
    """

    source: IPAddress | None = None
    source_port: int = 0
    interface: str | None = None
    via: IPAddress | bytes | None = None
    table: int | str | None = None
    netns: str | int | None = None
    claim: IPAddress | None = None
    guard: str = "auto"
    qdisc_bypass: bool = False

    def check(self) -> PathOptions:
        """Return the options. Errors: BadArgument for values that cannot be used together."""
        if self.guard not in GUARD_MODES:
            raise BadArgument(
                f"--guard: no such mode: {self.guard!r}",
                hint=f"use one of {', '.join(GUARD_MODES)}",
            )
        if self.claim is not None and self.source is not None:
            raise BadArgument("-s cannot be used with --claim: both set the source address")
        given = self.addresses()
        for option, address in given[1:]:
            require_same_version(*given[0], option, address)
        return self

    def addresses(self) -> list[tuple[str, IPAddress]]:
        """Return the options that are IP addresses, with their names on the command line."""
        options = (("-s", self.source), ("--claim", self.claim), ("--via", self.via))
        return [
            (option, address)
            for option, address in options
            if address is not None and not isinstance(address, bytes)
        ]

    def require_destination(self, destination: IPAddress) -> None:
        """Errors: BadArgument if an address is not of the destination's IP version."""
        for option, address in self.addresses():
            require_same_version(option, address, "", destination)


class SocketOptions(NamedTuple):
    """Values of socket options; None leaves the default. Buffers are in bytes.

    ``tos`` is the whole byte, DSCP and ECN (IPv6: traffic class). ``ttl`` is that of sent
    packets, ``min_ttl`` the lowest accepted on received ones (RFC 5082; IPv6: hop limits).
    """

    ttl: int | None = None
    min_ttl: int | None = None
    tos: int | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    broadcast: bool = False


class ListenOptions(NamedTuple):
    """What to listen on. Without ``interfaces`` it is the default route's interface.

    ``take_over`` takes a port that the host itself serves; ``reply_mac`` sends replies to the
    source MAC of the client's packets instead of routing them.
    """

    interfaces: tuple[str, ...] = ()
    version: int | None = None
    take_over: bool = False
    reply_mac: bool = False


DEFAULT_PATH, DEFAULT_SOCKET, DEFAULT_LISTEN = PathOptions(), SocketOptions(), ListenOptions()


def require_same_version(
    option: str, address: IPAddress, other_option: str, other: IPAddress
) -> None:
    """Errors: BadArgument, which names both."""
    if address.version != other.version:
        raise BadArgument(
            f"{option} {address} cannot be used with {f'{other_option} {other}'.lstrip()}",
            hint="one is IPv4, the other is IPv6",
        )


def parse_next_hop(word: str, option: str = "via") -> IPAddress | bytes:
    """Return an IP address, or the six bytes of a MAC. Errors: BadArgument, naming the option."""
    if re.fullmatch(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}", word):
        mac = bytes.fromhex(word.replace(":", "").replace("-", ""))
        if mac[0] & 1 or not any(mac):
            raise BadArgument(f"{option}: {word} is not the MAC of one host")
        return mac
    try:
        return parse_address(word)
    except BadArgument:
        raise BadArgument(f"{option}: {word!r} is neither an IP address nor a MAC") from None


def parse_address(word: str, option: str = "") -> IPAddress:
    """Return an IP address of either version. Errors: BadArgument, naming the option."""
    try:
        return ip_address(word)
    except ValueError:
        name = f"{option}: " if option else ""
        raise BadArgument(f"{name}{word!r} is not an IP address") from None
