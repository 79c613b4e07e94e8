"""DNS messages (RFC 1035), read by dnspython.

Records are read one by one, so that one that is unknown or malformed does not hide the others.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire

HEADER = struct.Struct("!6H")
OPT = 41


def type_name(number: int) -> str:
    """Return a record type's name as dnspython has it, or "Type65400"."""
    name = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))
    return f"Type{number}" if name.startswith("TYPE") else name


class DnsQuestion(NamedTuple):
    """An entry of the question section."""

    name: str
    type: int
    klass: int


class DnsRecord(NamedTuple):
    """A resource record; its data is ``size`` bytes at ``at`` of the message."""

    name: str
    type: int
    klass: int
    ttl: int
    at: int
    size: int


class DnsMessage:
    """The sections of a message; ``cut`` if it ends early or is malformed."""

    def __init__(self, data: bytes) -> None:
        """``data`` has at least a whole header."""
        self.data = data
        numbers: tuple[int, ...] = HEADER.unpack_from(data)
        self.ident, self.flags, self.counts = numbers[0], numbers[1], numbers[2:]
        """Questions, answers, authority and additional records, as in the header."""
        self._parser = dns.wire.Parser(data, HEADER.size)
        self.questions: list[DnsQuestion] = []
        self.sections: tuple[list[DnsRecord], ...] = ([], [], [])
        self.cut = False
        try:
            for _ in range(self.counts[0]):
                self.questions.append(DnsQuestion(self._name(), *self._parser.get_struct("!HH")))
            for section, count in zip(self.sections, self.counts[1:], strict=True):
                for _ in range(count):
                    section.append(self._record())
        except Exception:
            # dnspython does not document all exceptions that malformed names may raise.
            self.cut = True

    @property
    def rcode(self) -> int:
        """The response code, with the upper bits of the OPT record (RFC 6891)."""
        extended = next((one.ttl >> 24 << 4 for one in self.sections[2] if one.type == OPT), 0)
        return self.flags & 15 | extended

    def value(self, record: DnsRecord) -> dns.rdata.Rdata | None:
        """Return a record's data, or None if dnspython does not know the type.

        Errors: any exception, if the data is malformed.
        """
        internet, kind = dns.rdataclass.IN, dns.rdatatype.RdataType.make(record.type)
        value = dns.rdata.from_wire(internet, kind, self.data, record.at, record.size)
        return None if isinstance(value, dns.rdata.GenericRdata) else value

    def _name(self) -> str:
        return dns.name.from_wire_parser(self._parser).to_text()

    def _record(self) -> DnsRecord:
        name = self._name()
        kind, klass, ttl, size = self._parser.get_struct("!HHIH")
        at = self._parser.current
        self._parser.get_bytes(size)
        return DnsRecord(name, kind, klass, ttl, at, size)
