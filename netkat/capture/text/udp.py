"""UDP (RFC 768), and what its well-known ports carry."""

from __future__ import annotations

import struct

from netkat.capture.text.checksum import internet, pseudo_header
from netkat.capture.text.number_names import mac_text
from netkat.capture.text.printer import Ends, Printer, Truncated

_HEADER = struct.Struct("!HHHH")
_DNS, _MDNS, _LLMNR, _BOOTP, _NTP, _GENEVE = 53, 5353, 5355, (67, 68), 123, 6081
_VXLAN = (4789, 8472)
"""IANA's, and Linux's own, which flannel and Cilium use."""
_NTP_MODES = (
    "unspecified", "symmetric active", "symmetric passive", "Client", "Server", "Broadcast",
    "Control Message", "Reserved",
)  # fmt: skip


def udp(printer: Printer, data: bytes, at: int, end: int, ends: Ends) -> str:
    """From the addresses on."""
    stop = min(end, len(data))
    if stop < at + 4:
        shown = f"{ends.source} > {ends.target}: " if ends.shown else ""
        return f"{shown}[|udp]"
    source, target = struct.unpack_from("!HH", data, at)
    left, right = printer.port(source, "udp"), printer.port(target, "udp")
    if ends.shown:
        shown = f"{ends.source}.{left} > {ends.target}.{right}: "
    else:
        shown = f"{left} > {right}: "
    if stop < at + 8:
        return f"{shown} [|udp]"
    _, _, length, checksum = _HEADER.unpack_from(data, at)
    if length < 8 and length:
        return f"{shown}truncated-udplength {length}"
    # A first fragment says the whole datagram's length and ends earlier.
    finish = min(at + length, end) if length else end
    size = (length or end - at) - 8
    there = end - at - 8
    plain = f"UDP, length {size}"
    if size > there and not ends.fragment:
        plain = f"UDP, bad length {size} > {there}"
    if printer.style.quiet:
        return f"{shown}{plain}"
    summed = ""
    # For IPv4, where the checksum may be left out, tcpdump speaks of it from -vv on.
    wanted = printer.style.verbose > (len(ends.packed) == 8)
    whole = len(data) >= at + length or not checksum
    if wanted and printer.style.checksums and not ends.fragment and whole:
        summed = _sum(data, at, finish, ends, checksum)
    if stop == at + 8 and not size:
        return f"{shown}{summed}UDP, length 0"
    try:
        content = _content(printer, data, at + 8, finish, (source, target))
    except Truncated as cut:
        content = f" [|{cut}]"
    return f"{shown}{summed}{content or plain}"


def _sum(data: bytes, at: int, end: int, ends: Ends, checksum: int) -> str:
    if not checksum:
        return "[no cksum] "
    header = pseudo_header(ends.packed, 17, end - at)
    right = internet(header + data[at : at + 6] + b"\0\0" + data[at + 8 : end]) or 0xFFFF
    if right == checksum:
        return "[udp sum ok] "
    return f"[bad udp cksum 0x{checksum:04x} -> 0x{right:04x}!] "


def _content(printer: Printer, data: bytes, at: int, end: int, ports: tuple[int, int]) -> str:
    """What a well-known port carries; "" for anything else."""
    if _DNS in ports or _MDNS in ports or _LLMNR in ports:
        from netkat.capture.text.dns import dns, readable

        return dns(printer, data, at, end, multicast=_MDNS in ports) if readable() else ""
    if ports[1] in _VXLAN:
        from netkat.capture.text.tunnel import vxlan

        return vxlan(printer, data, at, end)
    if ports[1] == _GENEVE:
        from netkat.capture.text.tunnel import geneve

        return geneve(printer, data, at, end)
    if ports[0] in _BOOTP and ports[1] in _BOOTP:
        return _bootp(data, at, end)
    if _NTP in ports:
        return _ntp(data, at, end)
    return ""


def _bootp(data: bytes, at: int, end: int) -> str:
    stop = min(end, len(data))
    if stop < at + 1:
        raise Truncated("bootp")
    kind = {1: "Request", 2: "Reply"}.get(data[at], f"unknown ({data[at]})")
    if stop < at + 236:
        return f"BOOTP/DHCP, {kind} [|bootp]"
    sender = f" from {mac_text(data[at + 28 : at + 34])}" if kind == "Request" else ""
    return f"BOOTP/DHCP, {kind}{sender}, length {end - at}"


def _ntp(data: bytes, at: int, end: int) -> str:
    if min(end, len(data)) < at + 1:
        raise Truncated("ntp")
    version, mode = data[at] >> 3 & 7, data[at] & 7
    return f"NTPv{version}, {_NTP_MODES[mode]}, length {end - at}"
