"""Convert packets to scapy's. scapy is GPL-2.0, so it is not a dependency of netkat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netkat.capture import linktype as lt

if TYPE_CHECKING:
    from netkat.capture.packet import Packet


def to_scapy(packet: Packet) -> Any:
    """Return a scapy packet with the same bytes, time and interface. Errors: ImportError."""
    try:
        from scapy import layers  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise ImportError("to_scapy() requires scapy: pip install scapy") from None
    import importlib

    del layers
    first = packet.raw[:1]
    six = bool(first) and first[0] >> 4 == 6
    module, name = {
        lt.ETHERNET: ("scapy.layers.l2", "Ether"),
        lt.LINUX_SLL: ("scapy.layers.l2", "CookedLinux"),
        lt.LINUX_SLL2: ("scapy.layers.l2", "CookedLinuxV2"),
        lt.RAW: ("scapy.layers.inet6", "IPv6") if six else ("scapy.layers.inet", "IP"),
        lt.IPV4: ("scapy.layers.inet", "IP"),
        lt.IPV6: ("scapy.layers.inet6", "IPv6"),
    }.get(packet.linktype, ("scapy.packet", "Raw"))
    importlib.import_module("scapy.layers.inet6")  # so that Ethernet finds both families
    made = getattr(importlib.import_module(module), name)(packet.raw)
    made.time = packet.time_ns / 1e9
    made.wirelen = packet.length
    made.sniffed_on = packet.interface or None
    return made
