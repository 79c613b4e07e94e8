"""DNS (RFC 1035), EDNS (RFC 6891) and multicast DNS (RFC 6762)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from netkat.capture.dns_message import HEADER, OPT, DnsMessage, DnsQuestion, DnsRecord, type_name
from netkat.capture.text.context import PrinterState
from netkat.capture.text.domain_names import CLASSES, EDNS_OPTIONS, OPCODES, RCODES, TYPES
from netkat.capture.text.escape import escape
from netkat.capture.text.number_names import ip4_text, ip6_text

_TOP_BIT = 0x8000


def domain(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message."""
    return _message(printer, data, at, end, multicast=False)


def multicast_dns(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message of multicast DNS, whose class has a flag."""
    return _message(printer, data, at, end, multicast=True)


def dns_over_tcp(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message that begins with its length (RFC 7766)."""
    if end - at <= 2:
        return ""
    return f" {_message(printer, data, at + 2, end, multicast=False)}"


def _message(printer: PrinterState, data: bytes, at: int, end: int, *, multicast: bool) -> str:
    if end - at < HEADER.size:
        return f"domain [length {end - at} < {HEADER.size}] (invalid)"
    wire = data[at : min(end, len(data))]
    if len(wire) < HEADER.size:
        return " [|domain]"
    message = DnsMessage(wire)
    ident, flags, counts = message.ident, message.flags, message.counts
    operation = OPCODES.get(flags >> 11 & 15, f" op{flags >> 11 & 15}")
    records = _Records(printer, message, multicast)
    if flags & _TOP_BIT:
        text = f"{ident}{operation}{_response(message)}"
        if len(message.questions) < counts[0]:
            return f"{text} [|domain]"
        if printer.style.verbose > 1 and message.questions:
            text += " q:" + ",".join(_question(one, multicast) for one in message.questions)
        text += " {1}/{2}/{3}".format(*counts)
        text += records.join(message.sections[0])
    else:
        text = f"{ident}{operation}{_query(flags, counts)}"
        text += ",".join(_question(one, multicast) for one in message.questions)
        if printer.style.verbose > 1 and message.sections[0]:
            text += f" an:{records.join(message.sections[0])}"
    if printer.style.verbose > 1:
        for name, section in zip(("ns", "ar"), message.sections[1:], strict=True):
            text += f" {name}:{records.join(section)}" if section else ""
    return f"{text} [|domain]" if message.cut else f"{text} ({end - at})"


def _response(message: DnsMessage) -> str:
    flags, rcode, questions = message.flags, message.rcode, message.counts[0]
    text = (
        f"{RCODES.get(rcode, f' Resp{rcode}')}"
        f"{'*' if flags & 0x400 else ''}{'' if flags & 0x80 else '-'}"
        f"{'|' if flags & 0x200 else ''}{'$' if flags & 0x20 else ''}"
    )
    return text + (f" [{questions}q]" if questions != 1 else "")


def _query(flags: int, counts: tuple[int, ...]) -> str:
    text = f"{'+' if flags & 0x100 else ''}{'%' if flags & 0x10 else ''}"
    if flags & 0x6CF:
        text += f" [b2&3=0x{flags:x}]"
    questions, answers, authority, additional = counts
    for count, usual, letters in (
        (answers, 0, "a"),
        (questions, 1, "q"),
        (authority, 0, "n"),
        (additional, 0, "au"),
    ):
        text += f" [{count}{letters}]" if count != usual else ""
    return text


def _type(number: int) -> str:
    return TYPES.get(number) or type_name(number)


def _question(question: DnsQuestion, multicast: bool) -> str:
    kind, asked = question.klass, ""
    if multicast:
        asked = " (QU)" if kind & _TOP_BIT else " (QM)"
        kind &= ~_TOP_BIT
    shown = CLASSES.get(kind, f" (Class {kind})")
    return f" {_type(question.type)}{shown}{asked}? {escape(question.name)}"


class _Records:
    """Prints the records of one message."""

    def __init__(self, printer: PrinterState, message: DnsMessage, multicast: bool) -> None:
        self._verbose, self._multicast = printer.style.verbose, multicast
        self._message, self._wire = message, message.data

    def join(self, records: list[DnsRecord]) -> str:
        """Return the records of a section, each with a blank in front."""
        return ",".join(map(self._record, records))

    def _record(self, record: DnsRecord) -> str:
        text = f" {escape(record.name)}" if self._verbose else ""
        if record.type == OPT:
            return f"{text} OPT UDPsize={record.klass}{self._edns(record)}"
        klass = record.klass
        if self._multicast and klass & _TOP_BIT:
            klass &= ~_TOP_BIT
            text += " (Cache flush)"
        text += CLASSES.get(klass, f" (Class {klass})")
        if self._verbose > 2:
            text += f" [{_age(record.ttl)}]"
        try:
            return f"{text} {_type(record.type)}{self._value(record)}"
        except Exception:
            # dnspython may raise any exception for malformed record data.
            return f"{text} {_type(record.type)} [|domain]"

    def _value(self, record: DnsRecord) -> str:
        if record.type == 1 and record.size == 4:
            return f" {ip4_text(self._wire[record.at : record.at + 4])}"
        if record.type == 28 and record.size == 16:
            return f" {ip6_text(self._wire[record.at : record.at + 16])}"
        form = _FORMS.get(record.type)
        if not self._verbose and (form is None or record.type == _SOA):
            return ""
        value = self._message.value(record)
        if value is None:
            return ""  # tcpdump prints unknown types without their data
        return f" {escape(value.to_text()) if form is None else form(value)}"

    def _edns(self, record: DnsRecord) -> str:
        text = " DO" if record.ttl & 0x8000 else ""
        at, end, options = record.at, record.at + record.size, list[str]()
        while at + 4 <= end:
            code, size = struct.unpack_from("!HH", self._wire, at)
            at += 4
            if at + size > end:
                return f"{text} [|domain]"
            options.append(_edns_option(code, self._wire[at : at + size]))
            at += size
        return f"{text} [{','.join(options)}]" if options else text


_SOA = 6


def _name(value: Any) -> str:
    return escape(value.to_text())


_FORMS: dict[int, Callable[[Any], str]] = {
    2: lambda value: _name(value.target),
    5: lambda value: _name(value.target),
    _SOA: lambda value: (
        f"{_name(value.mname)} {_name(value.rname)} {value.serial} {value.refresh} {value.retry}"
        f" {value.expire} {value.minimum}"
    ),
    12: lambda value: _name(value.target),
    15: lambda value: f"{_name(value.exchange)} {value.preference}",
    16: lambda value: " ".join(f'"{escape(one)}"' for one in value.strings),
    33: lambda value: f"{_name(value.target)}:{value.port} {value.priority} {value.weight}",
    39: lambda value: _name(value.target),
    256: lambda value: f"{value.priority} {value.weight} {escape(value.target)}",
}
"""Types that tcpdump prints in a form of its own."""


def _edns_option(code: int, value: bytes) -> str:
    name = EDNS_OPTIONS.get(code, f"Opt{code}")
    if code == 12:
        return f"{name} ({len(value)})"
    if code == 8 and len(value) >= 4:
        family, source, scope = struct.unpack_from("!HBB", value)
        size, text = {1: (4, ip4_text), 2: (16, ip6_text)}.get(family, (0, bytes.hex))
        if len(value) <= 4 + size:
            return f"{name} {text(value[4:].ljust(size, bytes(1)))}/{source}/{scope}"
    return f"{name} {value.hex()}" if value else name


def _age(seconds: int) -> str:
    """Return a time to live as tcpdump prints it: 1w2d3h4m5s."""
    if not seconds:
        return "0s"
    text = ""
    for size, letter in ((604800, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, seconds = divmod(seconds, size)
        text += f"{count}{letter}" if count else ""
    return text
