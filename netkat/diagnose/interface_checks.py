"""Checks of one interface: is it usable, which guard it takes, what stands in the way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address

from netkat.bpf.egress import egress_hooks
from netkat.bpf.guard import leftovers
from netkat.bpf.guard.select_mode import GuardLink, GuardMode, attach
from netkat.diagnose.check_result import Finding
from netkat.errors import MissingCapability, NetkatError, SetupError
from netkat.host.capability_hints import capability_hint
from netkat.host.links import Link, addresses, link
from netkat.host.offloads import offloads
from netkat.host.routes import route_to

_OUTSIDE = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))
"""For documentation (RFC 5737, RFC 3849), so only a default route leads there. Nothing is sent."""

WANTED_OFFLOADS = ("tx-checksumming", "generic-segmentation-offload", "tcp-segmentation-offload")
"""GRO is not among them: a veth has it off, and gets whole super-frames from its other end."""


def chosen(asked: str | None) -> Link | None:
    """The interface asked for, else that of the default route, else the first that is up.

    Errors: InterfaceNotFound.
    """
    if asked is not None:
        return link(asked)
    for address in _OUTSIDE:
        try:
            return link(route_to(address).index)
        except SetupError:
            continue
    for index, _ in socket.if_nameindex():
        found = link(index)
        if found.up and not found.loopback:
            return found
    return None


def usable(found: Link) -> Finding:
    """Up, of a type that netkat can speak on, with an address, and open to packet sockets."""
    about = f"interface {found.name}"
    if not found.up:
        return Finding(about, False, "it is down", f"ip link set {found.name} up", needed=True)
    try:
        kind = "Ethernet frames" if found.ethernet else "bare IP packets"
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
            tap.bind((found.name, 0))
    except PermissionError:
        what = "a packet socket is not permitted (CAP_NET_RAW)"
        return Finding(about, False, what, capability_hint(), needed=True)
    except (OSError, NetkatError) as error:
        return Finding(about, False, str(error), "choose another with -i", needed=True)
    own = [str(entry.address) for entry in addresses(found.index)]
    if not own:
        what, remedy = "it has no address", f"ip addr add ADDRESS/LENGTH dev {found.name}"
        return Finding(about, False, what, remedy, needed=True)
    return Finding(about, True, f"{kind}, mtu {found.mtu}, {', '.join(own)}")


def guard(found: Link) -> Finding:
    """Attach the guard in the best mode that works, and detach it again."""
    refused: list[NetkatError] = []
    try:
        at = GuardLink(found.name, found.index, found.ethernet)
    except SetupError as error:
        return Finding("guard", False, error.message, error.hint)
    for mode in (GuardMode.TCX, GuardMode.CLSACT, GuardMode.CBPF):
        try:
            attached = attach(at, mode)
        except NetkatError as error:
            refused.append(error)
            continue
        with closing(attached):
            what, ahead = attached.describe(), attached.explain_miss()
        if ahead:
            return Finding(
                "guard", False, f"{what}; {ahead}", "remove it, or attach it after netkat"
            )
        break
    else:
        what = attach(at, GuardMode.SOCKET).describe()
    if not refused:
        return Finding("guard", True, f"{what} (test attachment removed)")
    why = ", ".join(f"{mode} ({error})" for mode, error in zip(GuardMode, refused, strict=False))
    return Finding("guard", False, f"{what}; unavailable: {why}", _remedy(refused))


def _remedy(refused: list[NetkatError]) -> str | None:
    if any(isinstance(error, MissingCapability) for error in refused):
        return capability_hint()
    return next((error.hint for error in refused if error.hint), None)


def left_behind(found: Link) -> Iterator[Finding]:
    """Yield the filters that killed netkats and their cleanup processes left."""
    try:
        left = leftovers.find(found.index)
    except OSError:
        return
    if left:
        what = ", ".join(map(str, left))
        yield Finding("leftovers", False, f"of a killed netkat: {what}", "netkat clean")


def device(found: Link) -> Finding:
    """Offloads: without them every frame is cut and summed by the processor."""
    features = offloads(found.name)
    off = [name for name in WANTED_OFFLOADS if not features.get(name, True)]
    if off:
        words = " ".join(f"{name} on" for name in off)
        return Finding(
            "offloads",
            False,
            f"{', '.join(off)} off: it works, at less speed",
            f"ethtool -K {found.name} {words}",
        )
    return Finding("offloads", True, ", ".join(name for name, on in features.items() if on))


def egress(found: Link) -> Finding:
    """What may drop netkat's frames on their way out."""
    hooks = egress_hooks(found.index, load_modules=True)
    if hooks.found:
        what = f"{', '.join(hooks.found)}: they see netkat's frames and may drop them"
        look = f"tc filter show dev {found.name} egress; bpftool net; nft list hooks"
        return Finding("egress hooks", False, what, look)
    if hooks.unseen:
        what = f"{' and '.join(hooks.unseen)} cannot be looked at without CAP_NET_ADMIN"
        return Finding("egress hooks", False, what, capability_hint())
    return Finding("egress hooks", True, "none: no tc filter, no tcx program, no nft chain")


def service_addresses() -> Iterator[Finding]:
    """Addresses on dummy interfaces, as kube-proxy's IPVS mode has them for every Service."""
    by_link: dict[str, list[str]] = {}
    for entry in addresses():
        holder = link(entry.index)
        if holder.kind == "dummy" and not entry.address.is_link_local:
            by_link.setdefault(holder.name, []).append(str(entry.address))
    for name, held in by_link.items():
        shown = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
        yield Finding(
            "local addresses",
            False,
            f"{shown} on {name}: this host takes packets for them itself (IPVS)",
            "to reach one of them from here, name the next hop: --via",
        )
