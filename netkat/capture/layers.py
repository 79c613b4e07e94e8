"""A packet's headers as names and fields, for programs and --json. dpkt decodes them."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any

from netkat.capture import linktype as lt
from netkat.capture.text.number_names import ip4_text, ip6_text, mac_text
from netkat.errors import LibraryMissing

if TYPE_CHECKING:
    from netkat.capture.dns_message import DnsMessage, DnsRecord
    from netkat.capture.packet import Packet

Layer = tuple[str, dict[str, Any]]

_DEPTH = 16
_VXLAN, _GENEVE, _DNS = (4789, 8472), 6081, (53, 5353, 5355)
_SLL2 = struct.Struct("!HxxIHBB8s")
_NAMES = {"ip6": "ipv6", "ip": "ipv4"}
_NAME_TYPES = frozenset((2, 5, 12, 39))
_MAC_FIELDS = frozenset(("sha", "tha"))
_TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")


def layers(packet: Packet) -> list[Layer]:
    """Return the headers, outermost first; the last is "payload", or "malformed"."""
    found: list[Layer] = []
    _dpkt()  # a missing library is not an error of the packet
    try:
        _link(found, packet.linktype, packet.raw)
    except Exception:
        # For malformed bytes dpkt may raise any exception; the headers before are kept.
        found.append(("malformed", {}))
    return found


@functools.cache
def _dpkt() -> Any:
    try:
        import dpkt  # type: ignore[import-untyped]  # 45 ms
    except ImportError:
        raise LibraryMissing(
            "decoding layers requires dpkt, which is not installed",
            hint="install it: pip install dpkt",
        ) from None
    return dpkt


def _link(found: list[Layer], linktype: int, data: bytes) -> None:
    if linktype == lt.ETHERNET:
        _ethernet(found, data)
    elif linktype == lt.LINUX_SLL2:
        kind, index, hardware, way, size, address = _SLL2.unpack_from(data)
        found.append(
            (
                "sll2",
                {
                    "type": kind,
                    "ifindex": index,
                    "hardware": hardware,
                    "packet_type": way,
                    "address": mac_text(address[: min(size, 8)]),
                },
            )
        )
        _network(found, kind, data[20:])
    elif linktype == lt.LINUX_SLL:
        kind = int.from_bytes(data[14:16], "big")
        found.append(("sll", {"type": kind, "packet_type": int.from_bytes(data[:2], "big")}))
        _network(found, kind, data[16:])
    elif linktype in (lt.RAW, lt.IPV4, lt.IPV6):
        _bare(found, data)
    elif linktype in (lt.NULL, lt.LOOP):
        _bare(found, data[4:])
    else:
        _payload(found, data)


def _ethernet(found: list[Layer], data: bytes) -> None:
    if len(data) < 14:
        raise ValueError("short")
    kind, at = int.from_bytes(data[12:14], "big"), 14
    found.append(
        ("ethernet", {"dst": mac_text(data[:6]), "src": mac_text(data[6:12]), "type": kind})
    )
    while kind in (0x8100, 0x88A8, 0x9100):
        tag, following = struct.unpack_from("!HH", data, at)
        found.append(
            ("vlan", {"tpid": kind, "id": tag & 0xFFF, "priority": tag >> 13, "type": following})
        )
        kind, at = following, at + 4
    _network(found, kind, data[at:])


def _bare(found: list[Layer], data: bytes) -> None:
    _network(found, 0x86DD if data[:1] and data[0] >> 4 == 6 else 0x0800, data)


def _network(found: list[Layer], kind: int, data: bytes) -> None:
    if len(found) > _DEPTH:
        raise ValueError("too many headers")
    dpkt = _dpkt()
    if kind == 0x0800:
        _ip(found, dpkt.ip.IP(data))
    elif kind == 0x86DD:
        _ip(found, dpkt.ip6.IP6(data))
    elif kind == 0x0806:
        found.append(("arp", _fields(dpkt.arp.ARP(data))))
    elif kind == 0x6558:
        _ethernet(found, data)
    else:
        _payload(found, data)


def _ip(found: list[Layer], header: Any) -> None:
    six = header.__class__.__name__ == "IP6"
    fields = _fields(header)
    if six:
        fields.update(
            version=6, traffic_class=header.fc, flow_label=header.flow, next_header=header.p
        )
        extensions = (
            list(header.all_extension_headers) if hasattr(header, "all_extension_headers") else []
        )
        fields["extensions"] = [type(one).__name__ for one in extensions]
        for name in ("v_fc_flow", "nxt"):
            fields.pop(name, None)
    else:
        fields.update(
            version=4,
            header_length=header.hl * 4,
            df=bool(header.df),
            mf=bool(header.mf),
            fragment_offset=header.offset,
            options=bytes(header.opts).hex(),
        )
        for name in ("_v_hl", "v_hl", "_flags_offset"):
            fields.pop(name, None)
    found.append(("ipv6" if six else "ipv4", fields))
    _transport(found, header.p, header.data)


def _transport(found: list[Layer], number: int, body: Any) -> None:
    name = type(body).__name__
    if isinstance(body, bytes):
        if number == 47 and body:
            _gre(found, _dpkt().gre.GRE(body))
        else:
            _payload(found, body)
    elif name == "TCP":
        _tcp(found, body)
    elif name == "UDP":
        found.append(("udp", _fields(body)))
        _datagram(found, body.sport, body.dport, bytes(body.data))
    elif name in ("IP", "IP6"):
        if len(found) > _DEPTH:
            raise ValueError("too many headers")
        _ip(found, body)
    elif name == "GRE":
        _gre(found, body)
    else:
        found.append((name.lower(), _fields(body)))
        if number in (1, 58):
            _icmp_detail(found[-1][1], number, bytes(body))


def _gre(found: list[Layer], header: Any) -> None:
    found.append(("gre", _fields(header)))
    if hasattr(header.data, "p"):
        _ip(found, header.data)
    elif isinstance(header.data, bytes):
        _network(found, header.p, header.data)


def _tcp(found: list[Layer], header: Any) -> None:
    fields = _fields(header)
    fields["flags"] = [name for bit, name in enumerate(_TCP_FLAGS) if header.flags >> bit & 1]
    fields["header_length"] = header.off * 4
    for name in ("_off_flags", "_off", "_rsv", "_flags"):
        fields.pop(name, None)
    fields["options"] = (
        [
            {"kind": kind, "data": bytes(value).hex()}
            for kind, value in _dpkt().tcp.parse_opts(header.opts)
        ]
        if header.opts
        else []
    )
    found.append(("tcp", fields))
    _payload(found, bytes(header.data))


def _datagram(found: list[Layer], source: int, target: int, data: bytes) -> None:
    if source in _DNS or target in _DNS:
        _dns(found, data)
    elif target in _VXLAN and len(data) >= 8:
        found.append(("vxlan", {"flags": data[0], "vni": int.from_bytes(data[4:7], "big")}))
        _ethernet(found, data[8:])
    elif target == _GENEVE and len(data) >= 8:
        size, kind = (data[0] & 0x3F) * 4, int.from_bytes(data[2:4], "big")
        found.append(
            (
                "geneve",
                {
                    "vni": int.from_bytes(data[4:7], "big"),
                    "type": kind,
                    "options": data[8 : 8 + size].hex(),
                },
            )
        )
        _network(found, kind, data[8 + size :])
    else:
        _payload(found, data)


def _dns(found: list[Layer], data: bytes) -> None:
    # Imported here: dnspython takes 90 ms to load, and few packets are DNS messages.
    from netkat.capture.dns_message import HEADER, DnsMessage

    if len(data) < HEADER.size:
        raise ValueError("short")
    message = DnsMessage(data)
    flags = message.flags
    fields: dict[str, Any] = {
        "id": message.ident,
        "response": bool(flags & 0x8000),
        "opcode": flags >> 11 & 15,
        "rcode": message.rcode,
        "recursion_desired": bool(flags & 0x100),
        "truncated": bool(flags & 0x200),
        "questions": [
            {"name": _bare_name(one.name), "type": one.type} for one in message.questions
        ],
        "answers": [
            {
                "name": _bare_name(one.name),
                "type": one.type,
                "ttl": one.ttl,
                "data": _answer(message, one),
            }
            for one in message.sections[0]
        ],
    }
    found.append(("dns", fields))
    if message.cut:
        found.append(("malformed", {}))


def _bare_name(name: str) -> str:
    return name.removesuffix(".")


def _answer(message: DnsMessage, record: DnsRecord) -> str:
    """Return the data in presentation format; hex if the type is unknown or the data malformed."""
    try:
        value = message.value(record)
    except Exception:
        value = None
    if value is None:
        return message.data[record.at : record.at + record.size].hex()
    return _bare_name(value.to_text()) if record.type in _NAME_TYPES else value.to_text()


def _icmp_detail(fields: dict[str, Any], number: int, data: bytes) -> None:
    """Decode what dpkt does not: echo numbers, targets, quoted packets."""
    kind = data[0]
    if kind in ((0, 8) if number == 1 else (128, 129)) and len(data) >= 8:
        fields["id"], fields["seq"] = struct.unpack_from("!HH", data, 4)
    elif number == 58 and kind in (135, 136) and len(data) >= 24:
        fields["target"] = ip6_text(data[8:24])
    elif kind in ((3, 4, 5, 11, 12) if number == 1 else (1, 2, 3, 4)) and len(data) > 8:
        quoted: list[Layer] = []
        try:
            _bare(quoted, data[8:])
        except Exception:
            quoted.append(("malformed", {}))
        fields["quoted"] = [[name, inner] for name, inner in quoted]
        fields["word"] = int.from_bytes(data[4:8], "big")


def _fields(header: Any) -> dict[str, Any]:
    """Return the fields of a dpkt header, addresses as text and other bytes as hex."""
    fields: dict[str, Any] = {}
    for name in header.__hdr_fields__:
        if name.startswith("_"):
            continue
        value = getattr(header, name)
        if isinstance(value, (bytes, bytearray)):
            value = _text(name, bytes(value))
        fields[name] = value
    return fields


def _text(name: str, value: bytes) -> str:
    if name in _MAC_FIELDS:
        return mac_text(value)
    if len(value) == 4:
        return ip4_text(value)
    if len(value) == 16:
        return ip6_text(value)
    return value.hex()


def _payload(found: list[Layer], data: bytes) -> None:
    if data:
        found.append(("payload", {"length": len(data), "data": data.hex()}))
