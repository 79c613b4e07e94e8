"""Checks of one interface: usable, guard mode, offloads, egress hooks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address

from netkat.bpf.egress import egress_hooks
from netkat.bpf.guard import leftovers
from netkat.bpf.guard.select_mode import GuardLink, GuardMode, attach
from netkat.diagnose.check_result import CheckResult
from netkat.errors import MissingCapability, NetkatError, SetupError
from netkat.host.capability_hints import capability_hint
from netkat.host.links import Link, addresses, link
from netkat.host.offloads import offloads
from netkat.host.routes import route_to

_OUTSIDE = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))
"""For documentation (RFC 5737, RFC 3849), so only a default route leads there. Nothing is sent."""

WANTED_OFFLOADS = ("tx-checksumming", "generic-segmentation-offload", "tcp-segmentation-offload")
"""GRO is not among them: a veth has it off, and receives GSO packets from its other end."""


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


def usable(found: Link) -> CheckResult:
    """Up, of a type that netkat can speak on, with an address, and open to packet sockets."""
    subject = found.name
    if not found.up:
        return CheckResult(
            "interface",
            False,
            "link is down",
            f"ip link set {found.name} up",
            required=True,
            subject=subject,
        )
    try:
        kind = "Ethernet frames" if found.ethernet else "bare IP packets"
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
            tap.bind((found.name, 0))
    except PermissionError:
        what = "packet sockets are not permitted (CAP_NET_RAW missing)"
        return CheckResult(
            "interface", False, what, capability_hint(), required=True, subject=subject
        )
    except (OSError, NetkatError) as error:
        return CheckResult(
            "interface", False, str(error), "choose another with -i", required=True, subject=subject
        )
    own = [str(entry.address) for entry in addresses(found.index)]
    if not own:
        what, remedy = "no IP address", f"ip addr add ADDRESS/LENGTH dev {found.name}"
        return CheckResult("interface", False, what, remedy, required=True, subject=subject)
    return CheckResult(
        "interface", True, f"{kind}, mtu {found.mtu}, {', '.join(own)}", subject=subject
    )


def guard(found: Link) -> CheckResult:
    """Attach the guard in the best mode that works, and detach it again."""
    refused: list[NetkatError] = []
    try:
        at = GuardLink(found.name, found.index, found.ethernet)
    except SetupError as error:
        return CheckResult("guard", False, error.message, error.hint)
    for mode in (GuardMode.TCX, GuardMode.CLSACT, GuardMode.CBPF):
        try:
            attached = attach(at, mode)
        except NetkatError as error:
            refused.append(error)
            continue
        with closing(attached):
            what, ahead = attached.describe(), attached.explain_miss()
        if ahead:
            return CheckResult(
                "guard", False, f"{what}; {ahead}", "remove it, or attach it after netkat"
            )
        break
    else:
        what = attach(at, GuardMode.SOCKET).describe()
    if not refused:
        return CheckResult("guard", True, f"{what} (test attachment removed)")
    why = ", ".join(f"{mode} ({error})" for mode, error in zip(GuardMode, refused, strict=False))
    return CheckResult("guard", False, f"{what}; unavailable: {why}", _remedy(refused))


def _remedy(refused: list[NetkatError]) -> str | None:
    if any(isinstance(error, MissingCapability) for error in refused):
        return capability_hint()
    return next((error.hint for error in refused if error.hint), None)


def left_behind(found: Link) -> Iterator[CheckResult]:
    """Yield the filters that killed netkats and their cleanup processes left."""
    try:
        left = leftovers.find(found.index)
    except OSError:
        return
    if left:
        what = ", ".join(map(str, left))
        yield CheckResult(
            "leftovers", False, f"tc filter of a killed netkat: {what}", "run: netkat clean"
        )


def device(found: Link) -> CheckResult:
    """Offloads: without them every frame is cut and summed by the processor."""
    features = offloads(found.name)
    off = [name for name in WANTED_OFFLOADS if not features.get(name, True)]
    if off:
        words = " ".join(f"{name} on" for name in off)
        return CheckResult(
            "offloads",
            False,
            f"{', '.join(off)} off: reduced performance",
            f"ethtool -K {found.name} {words}",
        )
    return CheckResult("offloads", True, ", ".join(name for name, on in features.items() if on))


def egress(found: Link) -> CheckResult:
    """Check for egress hooks that may drop netkat's packets."""
    hooks = egress_hooks(found.index, load_modules=True)
    if hooks.found:
        what = f"{', '.join(hooks.found)}: these hooks see netkat's packets and may drop them"
        look = f"list hooks: tc filter show dev {found.name} egress; bpftool net; nft list hooks"
        return CheckResult("egress_hooks", False, what, look)
    if hooks.unseen:
        what = f"{' and '.join(hooks.unseen)} cannot be listed without CAP_NET_ADMIN"
        return CheckResult("egress_hooks", False, what, capability_hint())
    return CheckResult("egress_hooks", True, "none: no tc filter, no tcx program, no nft chain")


def service_addresses() -> Iterator[CheckResult]:
    """Addresses on dummy interfaces, as kube-proxy's IPVS mode has them for every Service."""
    by_link: dict[str, list[str]] = {}
    for entry in addresses():
        holder = link(entry.index)
        if holder.kind == "dummy" and not entry.address.is_link_local:
            by_link.setdefault(holder.name, []).append(str(entry.address))
    for name, held in by_link.items():
        shown = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
        yield CheckResult(
            "local_addresses",
            False,
            f"service addresses on {name} (IPVS mode): {shown}",
            "use --via to test them from this host",
        )
