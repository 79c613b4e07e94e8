"""ICMPv6 (RFC 4443), neighbour discovery (RFC 4861) and multicast listeners (RFC 2710, 3810)."""

from __future__ import annotations

from netkat.capture.text.checksum import internet, pseudo_header
from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.number_names import ip6_text, mac_text

_UNREACHABLE = {
    0: "unreachable route {}", 1: " unreachable prohibited {}", 2: "beyond scope {}",
    3: "unreachable address {}", 5: "source address failed ingress/egress policy {}",
    6: "reject route to destination {}",
}  # fmt: skip
_PROBLEM = {0: "erroneous", 1: "next header", 2: "option"}
_PORT_PROTOCOLS = {6: "tcp", 17: "udp"}
_OPTIONS = {
    1: "source link-address option", 2: "destination link-address option",
    3: "prefix info option", 4: "redirected header option", 5: "mtu option",
    25: "rdnss option", 31: "dnssl option",
}  # fmt: skip


def icmp6(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print a message."""
    stop = min(end, len(data))
    if stop < at + 4:
        raise Truncated("icmp6")
    verbose = printer.style.verbose
    summed = ""
    # -K does not apply here: as in tcpdump it is for IP, TCP and UDP.
    if verbose and not addresses.fragment and len(data) >= end:
        summed = _sum(data, at, end, addresses)
    kind = data[at]
    if 133 <= kind <= 137:
        return f"{summed}ICMP6, {_discovery(printer, data, at, end, kind)}"
    text, plain = _message(printer, data, at, end, kind, data[at + 1])
    # tcpdump omits the length of these where -v prints that of the header.
    length = "" if verbose and not plain else f", length {end - at}"
    return f"{summed}ICMP6, {text}{length}"


def _sum(data: bytes, at: int, end: int, addresses: Addresses) -> str:
    held = int.from_bytes(data[at + 2 : at + 4], "big")
    header = pseudo_header(addresses.packed, 58, end - at)
    right = internet(header + data[at : at + 2] + b"\0\0" + data[at + 4 : end])
    if right == held:
        return "[icmp6 sum ok] "
    return f"[bad icmp6 cksum 0x{held:04x} -> 0x{right:04x}!] "


def _message(
    printer: PrinterState, data: bytes, at: int, end: int, kind: int, code: int
) -> tuple[str, bool]:
    stop = min(end, len(data))
    if stop < at + 8:
        raise Truncated("icmp6")
    if kind in (128, 129):
        ident, seq = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (4, 6))
        return f"echo {'request' if kind == 128 else 'reply'}, id {ident}, seq {seq}", False
    if kind == 1:
        return f"destination unreachable, {_unreachable(data, at, stop, code)}", False
    word = int.from_bytes(data[at + 4 : at + 8], "big")
    if kind == 2:
        return f"packet too big, mtu {word}", False
    if kind == 3:
        if code:
            return "time exceeded in-transit (reassembly)", False
        return f"time exceeded in-transit for {_target(data, at, stop)}", False
    if kind == 4:
        fault = _PROBLEM.get(code, f"code-#{code}")
        return f"parameter problem, {fault} - octet {word}", False
    if kind in (130, 131, 132):
        name = {130: "query", 131: "report", 132: "done"}[kind]
        if stop < at + 24:
            raise Truncated("icmp6")
        delay = int.from_bytes(data[at + 4 : at + 6], "big")
        group = ip6_text(data[at + 8 : at + 24])
        # Query and report have no blank before the next word in tcpdump 4.99; netkat prints one.
        return f"multicast listener {name} max resp delay: {delay} addr: {group}", False
    if kind == 143:
        return _report(printer, data, at, stop), False
    return f"type-#{kind}", True


def _target(data: bytes, at: int, stop: int) -> str:
    """Destination address of the quoted packet."""
    if stop < at + 48:
        raise Truncated("icmp6")
    return ip6_text(data[at + 32 : at + 48])


def _unreachable(data: bytes, at: int, stop: int, code: int) -> str:
    target = _target(data, at, stop)
    if code != 4:
        return _UNREACHABLE.get(code, f"unknown unreach code ({code}) {{}}").format(target)
    protocol = data[at + 14]
    if stop < at + 52:
        raise Truncated("icmp6")
    port = int.from_bytes(data[at + 50 : at + 52], "big")
    name = _PORT_PROTOCOLS.get(protocol)
    if name is None:
        return f"unreachable port, {target} protocol {protocol} port {port}"
    return f"unreachable port, {target} {name} port {port}"


def _report(printer: PrinterState, data: bytes, at: int, stop: int) -> str:
    count = int.from_bytes(data[at + 6 : at + 8], "big")
    text = f"multicast listener report v2, {count} group record(s)"
    if not printer.style.verbose:
        return text
    kinds = {1: "is_in", 2: "is_ex", 3: "to_in", 4: "to_ex", 5: "allow", 6: "block"}
    place = at + 8
    for _ in range(count):
        if stop < place + 20:
            return f"{text} [|icmp6]"
        kind, extra = data[place], data[place + 1]
        sources = int.from_bytes(data[place + 2 : place + 4], "big")
        group = ip6_text(data[place + 4 : place + 20])
        text += f" [gaddr {group} {kinds.get(kind, f'[v2-report-#{kind}]')}, {sources} source(s)]"
        place += 20 + sources * 16 + extra * 4
    return text


def _discovery(printer: PrinterState, data: bytes, at: int, end: int, kind: int) -> str:
    verbose, stop = printer.style.verbose, min(end, len(data))
    name = {
        133: "router solicitation", 134: "router advertisement", 135: "neighbor solicitation",
        136: "neighbor advertisement", 137: "redirect",
    }[kind]  # fmt: skip
    length = f", length {end - at}"
    before, after = (length, "") if verbose else ("", length)
    minimum = {133: 8, 134: 16, 135: 24, 136: 24, 137: 40}[kind]
    if stop < at + minimum:
        return f"{name} [|icmp6]"
    detail = ""
    if kind == 135:
        detail = f", who has {ip6_text(data[at + 8 : at + 24])}"
    elif kind == 136:
        detail = f", tgt is {ip6_text(data[at + 8 : at + 24])}"
        if verbose:
            detail += f", Flags [{_names(data[at + 4], _ADVERTISEMENT)}]"
    elif kind == 137:
        target, destination = ip6_text(data[at + 8 : at + 24]), ip6_text(data[at + 24 : at + 40])
        detail = f", {destination} to {target}"
    elif kind == 134 and verbose:
        detail = _router(data, at)
    text = f"{name}{before}{detail}{after}"
    return text + _discovery_options(data, at + minimum, stop) if verbose else text


_ADVERTISEMENT = ((0x80, "router"), (0x40, "solicited"), (0x20, "override"))
_ROUTER = ((0x80, "managed"), (0x40, "other stateful"), (0x20, "home agent"))
_PREFIX = ((0x80, "onlink"), (0x40, "auto"), (0x20, "router"))
_PREFERENCE = ("medium", "high", "reserved", "low")


def _names(bits: int, table: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(name for bit, name in table if bits & bit) or "none"


def _router(data: bytes, at: int) -> str:
    lifetime = int.from_bytes(data[at + 6 : at + 8], "big")
    reachable, retransmit = (int.from_bytes(data[at + n : at + n + 4], "big") for n in (8, 12))
    flags = data[at + 5]
    return (
        f"\n\thop limit {data[at + 4]}, Flags [{_names(flags, _ROUTER)}], "
        f"pref {_PREFERENCE[flags >> 3 & 3]}, router lifetime {lifetime}s, "
        f"reachable time {reachable}ms, retrans timer {retransmit}ms"
    )


def _discovery_options(data: bytes, at: int, stop: int) -> str:
    text = ""
    while at + 2 <= stop:
        kind, units = data[at], data[at + 1]
        if not units or at + units * 8 > stop:
            return f"{text} [|icmp6]"
        value = data[at + 2 : at + units * 8]
        name = _OPTIONS.get(kind, "unknown option")
        text += f"\n\t  {name} ({kind}), length {units * 8} ({units}): "
        if kind in (1, 2):
            text += mac_text(value)
        elif kind == 3 and units == 4:
            valid, preferred = (int.from_bytes(value[n : n + 4], "big") for n in (2, 6))
            text += (
                f"{ip6_text(value[14:30])}/{value[0]}, Flags [{_names(value[1], _PREFIX)}], "
                f"valid time {_seconds(valid)}, pref. time {_seconds(preferred)}"
            )
        elif kind == 5 and units == 1:
            text += f" {int.from_bytes(value[2:6], 'big')}"
        at += units * 8
    return text


def _seconds(value: int) -> str:
    return "infinity" if value == 0xFFFFFFFF else f"{value}s"
