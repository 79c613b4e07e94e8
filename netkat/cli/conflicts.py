"""Options that cannot be used together."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from netkat.errors import BadArgument
from netkat.options import PathOptions

if TYPE_CHECKING:
    from netkat.commands.connect.connect_request import ConnectRequest

_ROUTES = "a kernel socket follows the host's routes"
_FRAMES = "a kernel socket does not show frames (netkat sniff does)"
_WITHOUT_KERNEL = (
    ("via", None, "--via", _ROUTES),
    ("claim", None, "--claim", "the kernel only sends from assigned addresses"),
    ("guard", "auto", "--guard", "a kernel socket needs no guard"),
    ("qdisc_bypass", False, "--qdisc-bypass", "packets of a kernel socket pass every hook"),
    ("show_frames", False, "-d", _FRAMES),
    ("frame_file", None, "--pcap", _FRAMES),
)


def refuse_with_kernel(request: ConnectRequest) -> None:
    """Refuse --kernel with options of netkat's stack. Errors: BadArgument."""
    for field, default, option, why in _WITHOUT_KERNEL:
        owner = request.path if field in PathOptions._fields else request
        if getattr(owner, field) != default:
            raise BadArgument(
                f"{option} cannot be used with --kernel: {why}", hint="use only one of them"
            )


def refuse_two_families(request: ConnectRequest) -> None:
    """Refuse addresses of both versions, or against -4 or -6. Errors: BadArgument."""
    given: list[tuple[str, int]] = [
        (f"{option} {address}", address.version) for option, address in request.path.addresses()
    ]
    if request.version is not None:
        given.append((f"-{request.version}", request.version))
    version = _version_of(request.host)
    # A proxy may be reached by another IP version than the destination.
    if version is not None and request.proxy is None:
        given.append((request.host, version))
    for other, version in given[1:]:
        if version != given[0][1]:
            raise BadArgument(
                f"{given[0][0]} cannot be used with {other}", hint="one is IPv4, the other is IPv6"
            )


def _version_of(host: str) -> int | None:
    """Return 4 or 6, None for a name; ::ffff:192.0.2.1 is IPv4 on the wire."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return 4 if mapped else address.version
