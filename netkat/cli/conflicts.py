"""Options that each make sense, and together do not."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from netkat.errors import BadArgument
from netkat.options import PathOptions

if TYPE_CHECKING:
    from netkat.commands.connect.connect_request import ConnectRequest

_ROUTES = "a kernel socket goes by the host's routes"
_FRAMES = "a kernel socket shows no frames; netkat sniff does"
_WITHOUT_KERNEL = (
    ("via", None, "--via", _ROUTES),
    ("claim", None, "--claim", "the kernel sends from its own addresses alone"),
    ("guard", "auto", "--guard", "there is nothing to keep from the kernel"),
    ("qdisc_bypass", False, "--qdisc-bypass", "a kernel socket passes every hook"),
    ("show_frames", False, "-d", _FRAMES),
    ("frame_file", None, "--pcap", _FRAMES),
)


def refuse_with_kernel(request: ConnectRequest) -> None:
    """--kernel, and what only netkat's own stack can do. Errors: BadArgument."""
    for field, default, option, why in _WITHOUT_KERNEL:
        owner = request.path if field in PathOptions._fields else request
        if getattr(owner, field) != default:
            raise BadArgument(
                f"{option} does not go with --kernel: {why}", hint="leave one of the two away"
            )


def refuse_two_families(request: ConnectRequest) -> None:
    """Addresses as they were written, and -4 or -6. Errors: BadArgument."""
    said: list[tuple[str, int]] = [
        (f"{option} {address}", address.version) for option, address in request.path.addresses()
    ]
    if request.version is not None:
        said.append((f"-{request.version}", request.version))
    version = _version_of(request.host)
    # How a proxy is reached says nothing of what it reaches.
    if version is not None and request.proxy is None:
        said.append((request.host, version))
    for words, version in said[1:]:
        if version != said[0][1]:
            raise BadArgument(
                f"{said[0][0]} cannot be used with {words}", hint="one is IPv4, the other is IPv6"
            )


def _version_of(host: str) -> int | None:
    """4 or 6 where it is an address; ::ffff:192.0.2.1 is IPv4 on the wire."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return 4 if mapped else address.version
