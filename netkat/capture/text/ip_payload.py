"""What an IP packet carries, by its protocol number."""

from __future__ import annotations

from netkat.capture.text.printer import Ends, Printer, Truncated
from netkat.capture.text.tcp import tcp
from netkat.capture.text.udp import udp


def payload(printer: Printer, data: bytes, at: int, end: int, number: int, ends: Ends) -> str:
    """The line from the addresses on."""
    if number == 6:
        return tcp(printer, data, at, end, ends)
    if number == 17:
        return udp(printer, data, at, end, ends)
    shown = f"{ends.source} > {ends.target}: " if ends.shown else ""
    try:
        return shown + _other(printer, data, at, end, number, ends)
    except Truncated as cut:
        return f"{shown} [|{cut}]"


def _other(printer: Printer, data: bytes, at: int, end: int, number: int, ends: Ends) -> str:
    if number == 1:
        from netkat.capture.text.icmp import icmp

        return icmp(printer, data, at, end, ends)
    if number == 58:
        from netkat.capture.text.icmp6 import icmp6

        return icmp6(printer, data, at, end, ends)
    if number == 47:
        from netkat.capture.text.tunnel import gre

        return gre(printer, data, at, end)
    if number in (4, 41):
        from netkat.capture.text.link_header import bare_ip

        printer.enter()
        return bare_ip(printer, data, at, end)
    if number == 59:
        return "no next header"
    from netkat.capture.text.other_protocols import SMALL

    if number in SMALL:
        return SMALL[number](printer, data, at, end, ends)
    return f" ip-proto-{number} {end - at}"
