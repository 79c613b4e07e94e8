"""Options that each make sense, and together do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.apps.request import Request

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


def refuse_with_kernel(request: Request) -> None:
    """--kernel, and what only netkat's own stack can do. Errors: BadArgument."""
    for field, unasked, option, why in _WITHOUT_KERNEL:
        if getattr(request, field) != unasked:
            raise BadArgument(
                f"{option} does not go with --kernel: {why}", hint="leave one of the two away"
            )
