"""Filters without libpcap: hosts, nets, ports and protocols joined by ``and``.

Every test is a run of instructions that falls through when it holds and returns
0 when it does not, so no jump reaches further than its own test.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from netkat.bpf.libpcap import FilterRefused, Instruction

_LD_W, _LD_H, _LD_B = 0x20, 0x28, 0x30
_LDX_MSH, _LD_H_IND = 0xB1, 0x48
_AND, _JEQ, _JSET, _JA, _RET = 0x54, 0x15, 0x45, 0x05, 0x06
_REJECT: Instruction = (_RET, 0, 0, 0)

_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmp6": 58}
_FAMILIES = {"ip": _IPV4, "ip6": _IPV6, "arp": _ARP, "icmp": _IPV4, "icmp6": _IPV6}
_WITH_PORTS = (6, 17, 132)
_LAYOUT = {1: (12, 14), 276: (0, 20)}
"""Link type → offsets of the protocol field and of the network header."""
_ADDRESSES = {_IPV4: (12, 16), _IPV6: (8, 24), _ARP: (14, 24)}
"""Offsets of source and destination address (ARP: sender's and target's)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One test. ``side`` is "src", "dst" or "" for either."""

    family: int = 0
    protocol: int = 0
    side: str = ""
    net: IPv4Network | IPv6Network | None = None
    port: int = -1


def compile_plain(expression: str, *, linktype: int, snaplen: int) -> list[Instruction]:
    """Errors: FilterRefused for what only libpcap can compile."""
    if linktype not in _LAYOUT:
        raise _refuse(expression, f"link type {linktype}")
    terms = parse(expression)
    type_at, base = _LAYOUT[linktype]
    program: list[Instruction] = [(_LD_H, 0, 0, type_at)]
    for family in (_IPV4, _IPV6, _ARP):
        tests = _family_tests(terms, family, base)
        if tests is None:
            continue
        body = [*tests, (_RET, 0, 0, snaplen)]
        # The jump over a family may be longer than the 8 bits of jt and jf.
        program += [(_JEQ, 1, 0, family), (_JA, 0, 0, len(body)), *body]
    return [*program, _REJECT]


def parse(expression: str) -> list[Term]:
    """Errors: FilterRefused, naming the word that it does not know."""
    words = expression.replace("&&", " and ").split()
    terms: list[Term] = []
    while words:
        if terms and (words.pop(0) != "and" or not words):
            raise _refuse(expression, "anything but 'and' between terms")
        terms.append(_term(expression, words))
    return terms


def _term(expression: str, words: list[str]) -> Term:
    family = protocol = 0
    if words[0] in _PROTOCOLS or words[0] in _FAMILIES:
        protocol, family = _PROTOCOLS.get(words[0], 0), _FAMILIES.get(words[0], 0)
        words.pop(0)
        if not words or words[0] == "and":
            return Term(family=family, protocol=protocol)
    side = words.pop(0) if words[0] in ("src", "dst") else ""
    if len(words) < 2 or words[0] not in ("host", "net", "port"):
        raise _refuse(expression, f"{words[0] if words else 'its end'!r}")
    kind, value = words.pop(0), words.pop(0)
    if kind == "port":
        return Term(family, protocol, side, port=_port(expression, value))
    try:
        net = ip_network(value)
    except ValueError:
        raise _refuse(expression, f"the name or address {value!r}") from None
    return Term(family, protocol, side, net=net)


def _port(expression: str, value: str) -> int:
    try:
        number = int(value) if value.isdecimal() else socket.getservbyname(value)
    except OSError:
        raise FilterRefused(f"filter: unknown port {value!r}", reason="unknown port") from None
    if number > 65535:
        raise FilterRefused(f"filter: illegal port number {number} > 65535", reason="port")
    return number


def _refuse(expression: str, what: str) -> FilterRefused:
    return FilterRefused(
        f"filter: {what} needs libpcap, which is not installed, in: {expression}",
        reason="libpcap is not installed",
        hint="apt-get install libpcap0.8; without it: host, net, port and protocol terms "
        "joined by 'and'",
    )


def _family_tests(terms: Sequence[Term], family: int, base: int) -> list[Instruction] | None:
    """All tests as they read in packets of one family; None where none could hold."""
    tests: list[Instruction] = []
    for term in terms:
        if term.family and term.family != family:
            return None
        if family == _ARP and (term.protocol or term.port >= 0):
            return None
        if term.net is not None and (term.net.version == 6) != (family == _IPV6):
            return None
        at = base + (9 if family == _IPV4 else 6)
        if term.protocol:
            tests += [(_LD_B, 0, 0, at), (_JEQ, 1, 0, term.protocol), _REJECT]
        if term.net is not None:
            tests += _net_test(term, [base + offset for offset in _ADDRESSES[family]])
        if term.port >= 0:
            tests += [(_LD_B, 0, 0, at)]
            tests += [(_JEQ, 2 - i + 1, 0, number) for i, number in enumerate(_WITH_PORTS)]
            tests += [_REJECT, *_port_test(term, family, base)]
    return tests


def _net_test(term: Term, offsets: list[int]) -> list[Instruction]:
    assert term.net is not None
    wanted, mask = term.net.network_address.packed, term.net.netmask.packed
    sides = {"src": offsets[:1], "dst": offsets[1:], "": offsets}[term.side]
    runs = [_compare(offset, wanted, mask) for offset in sides]
    tests: list[Instruction] = []
    for number, run in enumerate(runs):
        rest = sum(len(later) + 1 for later in runs[number + 1 :])
        tests += [*run, (_JA, 0, 0, rest + 1)]
    return [*tests, _REJECT]


def _compare(offset: int, wanted: bytes, mask: bytes) -> list[Instruction]:
    """Falls through when equal; else jumps behind the instruction that follows the run."""
    steps: list[tuple[int, int, int]] = []
    for at in range(0, len(wanted), 4):
        part = int.from_bytes(mask[at : at + 4], "big")
        if part:
            steps.append((offset + at, part, int.from_bytes(wanted[at : at + 4], "big")))
    run: list[Instruction] = []
    for number, (at, part, value) in enumerate(steps):
        left = 3 * (len(steps) - number - 1)
        run += [(_LD_W, 0, 0, at), (_AND, 0, 0, part), (_JEQ, 0, left + 1, value)]
    return run


def _port_test(term: Term, family: int, base: int) -> list[Instruction]:
    start: list[Instruction]
    if family == _IPV4:
        # Only the first fragment has ports.
        start = [(_LD_H, 0, 0, base + 6), (_JSET, 0, 1, 0x1FFF), _REJECT, (_LDX_MSH, 0, 0, base)]
        code, at = _LD_H_IND, base
    else:
        start, code, at = [], _LD_H, base + 40
    source: Instruction = (code, 0, 0, at)
    target: Instruction = (code, 0, 0, at + 2)
    if term.side:
        side = source if term.side == "src" else target
        return [*start, side, (_JEQ, 1, 0, term.port), _REJECT]
    return [*start, source, (_JEQ, 3, 0, term.port), target, (_JEQ, 1, 0, term.port), _REJECT]
