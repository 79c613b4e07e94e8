"""DNS (RFC 1035): what was asked and what was answered. The message is read by dpkt."""

from __future__ import annotations

import functools
import importlib
import struct
from typing import Any

from netkat.capture.text.context import PrinterState
from netkat.capture.text.escape import escape
from netkat.capture.text.number_names import ip4_text, ip6_text

_HEADER = struct.Struct("!6H")
_OPERATIONS = {
    0: "", 1: " inv_q", 2: " stat", 4: " notify", 5: " update", 9: " updateA", 10: " updateD",
    11: " updateDA", 12: " updateM", 13: " updateMA", 14: " zoneInit", 15: " zoneRef",
}  # fmt: skip
_CODES = {
    0: "", 1: " FormErr", 2: " ServFail", 3: " NXDomain", 4: " NotImp", 5: " Refused",
    6: " YXDomain", 7: " YXRRSet", 8: " NXRRSet", 9: " NotAuth", 10: " NotZone",
}  # fmt: skip
_TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT",
    24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT",
    39: "DNAME", 41: "OPT", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY",
    50: "NSEC3", 52: "TLSA", 64: "SVCB", 65: "HTTPS", 99: "SPF", 250: "TSIG", 251: "IXFR",
    252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
_CLASSES = {1: "", 3: " CHAOS", 4: " HS", 255: " (ANY)"}


def dns(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message; "" if no DNS library is installed."""
    return _message(printer, data, at, end, False) if readable() else ""


def multicast_dns(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message of multicast DNS (RFC 6762)."""
    return _message(printer, data, at, end, True) if readable() else ""


def dns_over_tcp(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message that begins with its length (RFC 7766)."""
    if end - at <= 2 or not readable():
        return ""
    return f" {_message(printer, data, at + 2, end, False)}"


def _message(printer: PrinterState, data: bytes, at: int, end: int, multicast: bool) -> str:
    if end - at < 12:
        return f"domain [length {end - at} < 12] (invalid)"
    stop = min(end, len(data))
    if stop < at + 12:
        return " [|domain]"
    ident, flags, questions, answers, authority, additional = _HEADER.unpack_from(data, at)
    operation = _OPERATIONS.get(flags >> 11 & 15, f" op{flags >> 11 & 15}")
    message = _parse(data[at:stop])
    if flags & 0x8000:
        text = (
            f"{ident}{operation}{_CODES.get(flags & 15, f' Resp{flags & 15}')}"
            f"{'*' if flags & 0x400 else ''}{'' if flags & 0x80 else '-'}"
            f"{'|' if flags & 0x200 else ''}{'$' if flags & 0x20 else ''}"
        )
        text += f" [{questions}q]" if questions != 1 else ""
        if message is None:
            return f"{text} [|domain]"
        if printer.style.verbose > 1 and message.qd:
            text += " q:" + ",".join(_question(one, multicast) for one in message.qd)
        text += f" {answers}/{authority}/{additional}"
        text += ",".join(_record(printer, one, multicast) for one in message.an)
        if printer.style.verbose > 1:
            for name, records in (("ns", message.ns), ("ar", message.ar)):
                if records:
                    texts = ",".join(_record(printer, one, multicast) for one in records)
                    text += f" {name}:{texts}"
        return f"{text} ({end - at})"
    text = f"{ident}{operation}{'+' if flags & 0x100 else ''}{'%' if flags & 0x10 else ''}"
    if flags & 0x6CF:
        text += f" [b2&3=0x{flags & 0xFFFF:x}]"
    for count, usual, letters in (
        (answers, 0, "a"),
        (questions, 1, "q"),
        (authority, 0, "n"),
        (additional, 0, "au"),
    ):
        text += f" [{count}{letters}]" if count != usual else ""
    if message is None:
        return f"{text} [|domain]"
    text += ",".join(_question(one, multicast) for one in message.qd)
    return f"{text} ({end - at})"


@functools.cache
def _reader() -> Any:
    try:
        reader = importlib.import_module("dpkt.dns")  # 45 ms
    except ImportError:
        return None
    return reader.DNS


def readable() -> bool:
    """False where dpkt (the extra netkat[sniff]) is not installed: the line shows a length then."""
    return _reader() is not None


def _parse(message: bytes) -> Any:
    """The message, or None where it is cut short or broken."""
    read = _reader()
    try:
        return read(message)
    except Exception:
        # dpkt has no bound on what it raises for bytes made to break it.
        return None


def _type(number: int) -> str:
    return _TYPES.get(number, f"Type{number}")


def _question(question: Any, multicast: bool) -> str:
    kind, asked = question.cls, ""
    if multicast:
        asked = " (QU)" if kind & 0x8000 else " (QM)"
        kind &= 0x7FFF
    shown = _CLASSES.get(kind, f" (Class {kind})")
    return f" {_type(question.type)}{shown}{asked}? {_name(question.name)}"


def _record(printer: PrinterState, record: Any, multicast: bool) -> str:
    verbose, text = printer.style.verbose, ""
    if verbose and record.type != 41:
        text += f" {_name(record.name)}"
    kind = record.cls & 0x7FFF if multicast else record.cls
    if record.type == 41:
        return f" OPT UDPsize={record.cls}{' DO' if record.ttl & 0x8000 else ''}"
    if multicast and record.cls & 0x8000:
        text += " (Cache flush)"
    text += _CLASSES.get(kind, f" (Class {kind})")
    if verbose > 2:
        text += f" [{_age(record.ttl)}]"
    try:
        return f"{text} {_type(record.type)}{_value(printer, record)}"
    except Exception:
        return f"{text} {_type(record.type)} [|domain]"


def _value(printer: PrinterState, record: Any) -> str:
    kind, data = record.type, record.rdata
    if kind == 1 and len(data) == 4:
        return f" {ip4_text(bytes(data))}"
    if kind == 28 and len(data) == 16:
        return f" {ip6_text(bytes(data))}"
    if kind == 5:
        return f" {_name(record.cname)}"
    if kind == 2:
        return f" {_name(record.nsname)}"
    if kind == 12:
        return f" {_name(record.ptrname)}"
    if kind == 15:
        return f" {_name(record.mxname)} {int.from_bytes(data[:2], 'big')}"
    if kind == 16:
        return "".join(f' "{_text(one)}"' for one in record.text)
    if kind == 33:
        return f" {_name(record.srvname)}:{record.port} {record.priority} {record.weight}"
    if kind == 6 and printer.style.verbose:
        return (
            f" {_name(record.mname)} {_name(record.rname)} {record.serial} {record.refresh}"
            f" {record.retry} {record.expire} {record.minimum}"
        )
    return ""


def _name(name: str) -> str:
    return f"{escape(name)}." if name else "."


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return escape(value)


def _age(seconds: int) -> str:
    """As tcpdump writes a time to live: 1w2d3h4m5s."""
    if not seconds:
        return "0s"
    text = ""
    for size, letter in ((604800, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, seconds = divmod(seconds, size)
        text += f"{count}{letter}" if count else ""
    return text
