"""The receive ring of an interface, with its filter."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from netkat.bpf.filters.libpcap import NETMASK_UNKNOWN
from netkat.bpf.filters.pcap_filter import (
    compile_filter,
    cooked_to_kernel,
    with_direction,
    with_snaplen,
)
from netkat.capture import linktype as lt
from netkat.capture.capture_options import ANY_NAME, CaptureOptions
from netkat.errors import BadArgument, InterfaceNotFound
from netkat.wire.ring import ANY, ReceiveRing, hardware_type


@dataclass(slots=True)
class RingSource:
    """An interface that packets are captured on."""

    name: str
    linktype: int
    ring: ReceiveRing
    matches: object | None
    """A filter that only user space can apply, to the whole cooked packet."""


def program_for(
    name: str, options: CaptureOptions, *, expression: str | None = None
) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Return the interface's link type, and the filter compiled by libpcap for it."""
    linktype = lt.LINUX_SLL2 if name == ANY_NAME else lt.of_hardware(hardware_type(name))
    if options.linktype is not None and options.linktype != linktype:
        if options.linktype != lt.LINUX_SLL2:
            raise BadArgument(
                f"{name} is captured as {lt.describe(linktype)}, not as "
                f"{lt.describe(options.linktype)}",
                hint="use -y with that name or with LINUX_SLL2",
            )
        linktype = lt.LINUX_SLL2
    text = options.filter_text if expression is None else expression
    program = compile_filter(
        text,
        linktype=lt.to_dlt(linktype),
        snaplen=options.snaplen,
        optimize=options.optimize,
        netmask=_netmask(name) if "broadcast" in text else NETMASK_UNKNOWN,
        device=name,
    )
    return linktype, program


def open_source(name: str, options: CaptureOptions, names: dict[int, str]) -> RingSource:
    """Compile the filter and open the ring; ``names`` are the namespace's interfaces by index.

    Errors: those of compile_filter() and of ReceiveRing.
    """
    if name != ANY_NAME and name not in names.values():
        raise InterfaceNotFound(f"no interface {name}", hint="list interfaces: netkat sniff -D")
    linktype, program = program_for(name, options)
    cooked, matches = linktype == lt.LINUX_SLL2, None
    if cooked:
        kernel = cooked_to_kernel(program)
        if kernel is None:
            from netkat.bpf.filters.libpcap import Matcher

            matches = Matcher(program)
            kernel = [(6, 0, 0, options.snaplen)]
        program = kernel
    loopback = next((index for index, known in names.items() if known == "lo"), 0)
    program = with_direction(
        with_snaplen(program, options.snaplen),
        options.direction,
        loopback if name in (ANY_NAME, "lo") else 0,
    )
    ring = ReceiveRing(
        ANY if name == ANY_NAME else name,
        program,
        cooked=cooked,
        promiscuous=options.promiscuous,
        size=options.buffer,
        hold_ms=options.hold_ms,
    )
    return RingSource(name, linktype, ring, matches)


def _netmask(name: str) -> int:
    """Return the IPv4 netmask of an interface, for the primitive ``ip broadcast``."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, 0x891B, name.encode().ljust(40, b"\0"))  # SIOCGIFNETMASK
        except OSError:
            return NETMASK_UNKNOWN
    return int.from_bytes(answer[20:24], "little")
