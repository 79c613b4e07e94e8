"""One port on several addresses: each is claimed before the first is listened on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from netkat.engine.listening import (
    DatagramSession,
    ListeningSession,
    PortClaim,
    claim,
    open_datagrams,
    open_listener,
    places,
)
from netkat.errors import BadArgument, NetkatError, OwnAddress, PortTaken
from netkat.flow import IPAddress, Protocol
from netkat.host.nat import unlisted_nat

if TYPE_CHECKING:
    from netkat.engine.bypass import Bypass
    from netkat.host.listen_addresses import ListenAddress
    from netkat.options import ListenOptions

_TRIES = 8
"""Free ports of one address that may turn out to be taken on another."""


class ClaimedPorts(NamedTuple):
    """The claims, each on an address of its own and all of one port number."""

    claims: list[PortClaim]
    left_out: list[str]
    """Addresses that are not reachable through a network interface, with the reason."""
    unseen_nat: str | None
    """Why it is not known whether a NAT rule serves the port."""

    @property
    def port(self) -> int:
        """The port number, also where 0 was requested."""
        return self.claims[0].port

    @property
    def places(self) -> list[tuple[IPAddress, str]]:
        """Every address that is listened on, and its interface's name."""
        return [(one.place.address, one.place.link.name) for one in self.claims]

    def listen(self) -> list[ListeningSession]:
        """Listen for TCP on each; once, after the library is loaded."""
        return [open_listener(one) for one in self.claims]

    def receive(self) -> list[DatagramSession]:
        """Receive UDP on each; once, after the library is loaded."""
        return [open_datagrams(one) for one in self.claims]

    def notes(self) -> list[str]:
        """Return the lines for -v."""
        if self.unseen_nat is None:
            return self.left_out
        unknown = f"whether a NAT rule serves port {self.port} is not known: {self.unseen_nat}"
        return [unknown, *self.left_out]

    def warnings(self) -> list[str]:
        """Return the lines that are shown without -v: the previous owner of the port."""
        return [
            f"port {one.port} on {one.place.address} ({one.place.link.name}) is taken from"
            f" {one.taken_from}: nothing that comes in there reaches it until this ends"
            for one in self.claims
            if one.taken_from is not None
        ]


def claim_ports(
    bypass: Bypass,
    addresses: Sequence[IPAddress],
    port: int,
    *,
    protocol: Protocol,
    options: ListenOptions,
) -> ClaimedPorts:
    """As Bypass.claim_ports. Of several addresses, those that nothing can reach are left out."""
    # Asked while privileges are held.
    unknown = None if options.take_over else unlisted_nat()
    wanted, left_out = bypass.inside(lambda: _places(addresses, options))
    for attempt in range(_TRIES):
        try:
            claims = _claim_all(bypass, wanted, port, protocol, options)
        except PortTaken:
            if port or attempt == _TRIES - 1:
                raise
        else:
            return ClaimedPorts(claims, left_out, unknown)
    raise AssertionError("the last try raises")


def _places(
    addresses: Sequence[IPAddress], options: ListenOptions
) -> tuple[list[ListenAddress], list[str]]:
    found: list[ListenAddress] = []
    faults: list[NetkatError] = []
    for interface in options.interfaces or (None,):
        for address in addresses or (None,):
            try:
                found += places(address, interface=interface, version=options.version)
            except (BadArgument, OwnAddress) as fault:
                faults.append(fault)
    if not found:
        raise faults[0]
    return found, [fault.message for fault in faults]


def _claim_all(
    bypass: Bypass,
    wanted: Iterable[ListenAddress],
    port: int,
    protocol: Protocol,
    options: ListenOptions,
) -> list[PortClaim]:
    """A claim for each place, or none: the first decides the number."""
    found: list[PortClaim] = []
    try:
        for place in wanted:
            found.append(
                claim(
                    bypass,
                    place,
                    found[0].port if found else port,
                    protocol=protocol,
                    take_over=options.take_over,
                    reply_mac=options.reply_mac,
                )
            )
    except BaseException:
        for held in found:
            held.release()
        raise
    return found
