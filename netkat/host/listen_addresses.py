"""The addresses that a listener can use: this host's, on a given or the default interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from netkat import netlink
from netkat.errors import BadArgument, InterfaceDown, NoRoute, OwnAddress
from netkat.flow import IPAddress
from netkat.host.fib import lookup
from netkat.host.links import InterfaceAddress, Link, addresses, link
from netkat.host.routes import foreign_source

_MAIN_TABLE = 254
_VERSIONS = (4, 6)
_ANY: dict[int, IPAddress] = {4: IPv4Address(0), 6: IPv6Address(0)}


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address of this host and its interface."""

    link: Link
    address: IPAddress


def find_listen_address(address: IPAddress, interface: str | None = None) -> ListenAddress:
    """Find the interface that an address of this host is assigned to.

    Errors: BadArgument (not this host's), OwnAddress (loopback), InterfaceDown.
    """
    if address.is_unspecified:
        raise BadArgument(
            f"{address} is not a single address: a listener needs one interface",
            hint="omit HOST to use the default route's interface, or set -i",
        )
    held = [own for own in addresses() if own.address.packed == address.packed]
    zone = address.scope_id if isinstance(address, IPv6Address) else None
    wanted = [name for name in (interface, zone) if name is not None]
    indices = [_index(name) for name in wanted]
    fitting = [own for own in held if all(own.index == index for index in indices)]
    if held and not fitting:
        raise BadArgument(f"{address} is not on {wanted[0]}, but on {link(held[0].index).name}")
    if not fitting:
        raise foreign_source(address)
    found = link(fitting[0].index)
    if len(fitting) > 1:
        names = ", ".join(link(own.index).name for own in fitting)
        raise BadArgument(
            f"{address} is ambiguous: assigned to {names}", hint=f"use {address}%eth0"
        )
    if found.loopback or address.is_loopback:
        raise _on_loopback(f"{address} is on {found.name}")
    _refuse_down(found)
    return ListenAddress(found, address)


def list_listen_addresses(
    interface: str | None, versions: Iterable[int] = _VERSIONS
) -> list[ListenAddress]:
    """Every usable address of an interface; without one, of the default routes' interfaces.

    Where one version alone has a default route, its interface is that of the other as well.
    Errors: InterfaceNotFound, InterfaceDown, OwnAddress (loopback), NoRoute (no default
    route, or no address).
    """
    found: list[ListenAddress] = []
    versions = list(versions)
    out: Link | None = None
    named = link(interface) if interface is not None else None
    if named is not None and named.loopback:
        raise _on_loopback(f"{named.name} is the loopback interface")
    defaults = {version: _default(version) for version in _VERSIONS} if named is None else {}
    for version in versions:
        out = named or defaults[version] or next(filter(None, defaults.values()), None)
        if out is None:
            continue
        _refuse_down(out)
        found += [ListenAddress(out, own) for own in _usable(addresses(out.index), version)]
    if found:
        return found
    if out is None:
        raise NoRoute(
            "no default route, so no interface to listen on",
            hint="set -i, or pass an address of this host",
        )
    kinds = " or ".join(f"IPv{version}" for version in versions)
    raise NoRoute(
        f"{out.name} has no {kinds} address", hint=f"check: ip -br address show {out.name}"
    )


def _default(version: int) -> Link | None:
    with netlink.Netlink() as kernel:
        found = lookup(kernel, _ANY[version], _MAIN_TABLE)
    if found is None or not found.hops:
        return None
    return link(found.hops[0].interface)


def _usable(held: Iterable[InterfaceAddress], version: int) -> Iterator[IPAddress]:
    for own in held:
        if own.address.version == version and not own.tentative and not own.address.is_link_local:
            yield own.address


def _on_loopback(what: str) -> OwnAddress:
    return OwnAddress(
        f"{what}: not reachable through a network interface",
        hint="use nc for local addresses, or set -i",
    )


def _refuse_down(found: Link) -> None:
    if not found.up:
        raise InterfaceDown(
            f"{found.name} is down",
            interface=found.name,
            hint=f"set it up: ip link set {found.name} up",
        )


def _index(name: str) -> int:
    return link(int(name) if name.isdigit() else name).index
