"""A rule's expressions written back as nft(8) has them, as far as that is simple.

For people to find the rule again: an expression that is not known here appears by its name alone.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from netkat import netlink
from netkat.diagnose.why.nft import uapi

_REG32_00: Final = 8
_META: Final = {
    0: "meta length", 1: "meta protocol", 2: "meta priority", 3: "meta mark", 4: "iif", 5: "oif",
    6: "iifname", 7: "oifname", 10: "meta skuid", 11: "meta skgid", 12: "meta nftrace",
    15: "meta nfproto", 16: "meta l4proto", 19: "meta pkttype", 23: "meta cgroup",
}  # fmt: skip
_CT: Final = {0: "ct state", 1: "ct direction", 2: "ct status", 3: "ct mark"}
_CT_STATES: Final = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}
_PAYLOAD: Final = {
    (1, 12, 4): "ip saddr", (1, 16, 4): "ip daddr", (1, 9, 1): "ip protocol", (1, 8, 1): "ip ttl",
    (1, 8, 16): "ip6 saddr", (1, 24, 16): "ip6 daddr", (1, 6, 1): "ip6 nexthdr",
    (2, 0, 2): "th sport", (2, 2, 2): "th dport", (2, 13, 1): "tcp flags", (2, 0, 1): "icmp type",
}  # fmt: skip
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_OPERATORS: Final = {0: "", 1: "!= ", 2: "< ", 3: "<= ", 4: "> ", 5: ">= "}
_FIB: Final = {1: "oif", 2: "oifname", 3: "type"}
_TARGET_KINDS: Final = {
    "REJECT": "reject", "DNAT": "nat", "SNAT": "nat", "MASQUERADE": "nat", "REDIRECT": "nat",
    "TPROXY": "tproxy",
}  # fmt: skip


@dataclass(slots=True)
class Expression:
    """One expression: its kind, its text ("" where it only loads), a comment or a set's name."""

    kind: str
    text: str = ""
    comment: str = ""
    set_name: str = ""
    jump: str = ""


@dataclass(slots=True)
class _Registers:
    """What each register holds, in words, while a rule is read."""

    words: dict[int, str] = field(default_factory=dict)

    def get(self, found: dict[int, bytes], attribute: int) -> str:
        return self.words.get(_slot(found, attribute), "")

    def set(self, found: dict[int, bytes], attribute: int, words: str) -> None:
        self.words[_slot(found, attribute)] = words

    def concatenated(self, found: dict[int, bytes], attribute: int) -> str:
        """All that was loaded for a look-up, in order; the registers are free afterwards."""
        first = _slot(found, attribute)
        slots = sorted(slot for slot in self.words if slot >= first)
        return " . ".join(self.words.pop(slot) for slot in slots)


def _slot(found: dict[int, bytes], attribute: int) -> int:
    """A register's place in units of 4 bytes: NFT_REG_1 to 4 have 16, NFT_REG32_00 on have 4."""
    register = uapi.number(found.get(attribute)) or 0
    return register - _REG32_00 if register >= _REG32_00 else 4 * (register - 1)


def parse(data: bytes) -> list[Expression]:
    """The expressions of NFTA_RULE_EXPRESSIONS."""
    registers = _Registers()
    return [
        _READERS.get(kind, _unknown)(kind, found, registers) for kind, found in _expressions(data)
    ]


def text(expressions: list[Expression]) -> str:
    """The rule in one line."""
    return " ".join(one.text for one in expressions if one.text)


def _expressions(data: bytes) -> Iterator[tuple[str, dict[int, bytes]]]:
    for _, one in netlink.attribute_list(data):
        found = netlink.attributes(one)
        kind = netlink.text(found.get(uapi.EXPR_NAME, b""))
        yield kind, netlink.attributes(found.get(uapi.EXPR_DATA, b""))


def _unknown(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    return Expression(kind, kind)


def _quiet(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    return Expression(kind)


def _meta(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    key = uapi.number(found.get(2)) or 0
    words = _META.get(key, f"meta {key}")
    if 3 in found:
        return Expression(kind, f"{words} set {registers.get(found, 3)}".rstrip())
    registers.set(found, 1, words)
    return Expression(kind)


def _ct(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    key = uapi.number(found.get(2)) or 0
    words = _CT.get(key, f"ct {key}")
    if 4 in found:
        return Expression(kind, f"{words} set {registers.get(found, 4)}".rstrip())
    registers.set(found, 1, words)
    return Expression(kind)


def _payload(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    base, offset, length = (uapi.number(found.get(each)) or 0 for each in (2, 3, 4))
    if 1 not in found:
        return Expression(kind, "payload set")
    words = _PAYLOAD.get((base, offset, length), f"@{base},{offset},{length}")
    whole = _PAYLOAD.get((base, offset, 4), "")
    if whole.startswith("ip ") and length < 4:
        words = f"{whole}/{8 * length}"  # nft compares whole bytes of a prefix alone
    registers.set(found, 1, words)
    return Expression(kind)


def _bitwise(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    source = registers.get(found, 1)
    mask = netlink.attributes(found.get(4, b"")).get(uapi.DATA_VALUE, b"")
    if source in ("ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"):
        length = bin(int.from_bytes(mask, "big")).count("1")
        registers.set(found, 2, f"{source}/{length}")
    elif source.startswith("ct state"):
        registers.set(found, 2, f"{source}&{_states(mask)}")
    else:
        registers.set(found, 2, f"{source} & 0x{mask[::-1].hex()}")
    return Expression(kind)


def _cmp(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    left = registers.get(found, 1)
    operator = uapi.number(found.get(2)) or 0
    value = netlink.attributes(found.get(3, b"")).get(uapi.DATA_VALUE, b"")
    if left.startswith("ct state&"):
        # state & mask != 0: one of these states.
        states = left.removeprefix("ct state&")
        return Expression(kind, f"ct state {'' if operator == 1 else '!= '}{states}")
    field_name, slash, length = left.partition("/")
    shown = _value(field_name, value)
    sign = _OPERATORS.get(operator, "? ")
    return Expression(kind, f"{field_name} {sign}{shown}{slash}{length}")


def _range(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    left = registers.get(found, 1)
    low, high = (
        netlink.attributes(found.get(each, b"")).get(uapi.DATA_VALUE, b"") for each in (3, 4)
    )
    sign = "!= " if uapi.number(found.get(2)) else ""
    return Expression(kind, f"{left} {sign}{_value(left, low)}-{_value(left, high)}")


def _lookup(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    name = netlink.text(found.get(1, b""))
    left = registers.concatenated(found, 2)
    inverted = "!= " if (uapi.number(found.get(5)) or 0) & 1 else ""
    if 3 not in found:
        return Expression(kind, f"{left} {inverted}@{name}", set_name=name)
    if uapi.number(found[3]):  # a map whose value goes to a register
        registers.set(found, 3, f"map @{name}")
        return Expression(kind, set_name=name)
    return Expression(kind, f"{left} vmap @{name}", set_name=name)


def _immediate(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    data = netlink.attributes(found.get(2, b""))
    if uapi.DATA_VERDICT in data:
        verdict = netlink.attributes(data[uapi.DATA_VERDICT])
        code = uapi.verdict_of(struct.unpack("!i", verdict[uapi.VERDICT_CODE])[0])
        chain = netlink.text(verdict.get(uapi.VERDICT_CHAIN, b""))
        return Expression(kind, f"{code} {chain}".rstrip(), jump=chain)
    value = data.get(uapi.DATA_VALUE, b"")
    if len(value) in (4, 16):
        registers.set(found, 1, str(ip_address(value)))
    else:
        registers.set(found, 1, str(int.from_bytes(value, "big")))
    return Expression(kind)


def _nat(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    what = "dnat" if uapi.number(found.get(1)) else "snat"
    to, port = registers.get(found, 3), registers.get(found, 5)
    return Expression("nat", f"{what} to {to}{':' + port if port else ''}")


def _masq(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    return Expression("nat", "masquerade")


def _redir(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    port = registers.get(found, 1)
    return Expression("redir", f"redirect to :{port}" if port else "redirect")


def _numgen(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    modulus = uapi.number(found.get(2))
    registers.set(found, 1, f"numgen random mod {modulus}")
    return Expression(kind)


def _fib(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    flags = uapi.number(found.get(3)) or 0
    of = "saddr" if flags & 1 else "daddr"
    result = _FIB.get(uapi.number(found.get(2)) or 0, "?")
    registers.set(found, 1, f"fib {of} {result}")
    return Expression(kind)


def _match(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    name, information = netlink.text(found.get(1, b"")), found.get(3, b"")
    if name == "comment":
        return Expression(kind, comment=netlink.text(information[:256].split(b"\0", 1)[0]))
    return Expression(kind, f"-m {name}")


def _target(kind: str, found: dict[int, bytes], registers: _Registers) -> Expression:
    name = netlink.text(found.get(1, b""))
    return Expression(_TARGET_KINDS.get(name, kind), f"-j {name}")


_Reader = Callable[[str, dict[int, bytes], _Registers], Expression]
_READERS: Final[dict[str, _Reader]] = {
    "meta": _meta, "ct": _ct, "payload": _payload, "bitwise": _bitwise, "cmp": _cmp,
    "range": _range, "lookup": _lookup, "immediate": _immediate, "nat": _nat, "masq": _masq,
    "redir": _redir, "numgen": _numgen, "fib": _fib, "match": _match, "target": _target,
    "counter": _quiet,
}  # fmt: skip


def _value(field_name: str, value: bytes) -> str:
    if field_name.endswith("addr") and value:
        return str(ip_address(value + bytes(-len(value) % (4 if len(value) <= 4 else 16))))
    if field_name.endswith(("sport", "dport")):
        return str(int.from_bytes(value, "big"))
    if field_name in ("meta l4proto", "ip protocol", "ip6 nexthdr"):
        return _PROTOCOLS.get(value[0], str(value[0])) if value else ""
    if field_name == "meta nfproto" and value:
        return {2: "ipv4", 10: "ipv6"}.get(value[0], str(value[0]))
    if field_name in ("iifname", "oifname"):
        # iptables' eth+ is a shorter comparison, without the final zero.
        wildcard = "" if value.endswith(b"\0") else "*"
        return f'"{netlink.text(value)}{wildcard}"'
    if field_name.startswith("fib") and field_name.endswith("type"):
        return {1: "unicast", 2: "local", 3: "broadcast"}.get(_host(value), str(_host(value)))
    if field_name == "tcp flags":
        return f"0x{value.hex()}"
    return f"0x{_host(value):x}"


def _states(mask: bytes) -> str:
    bits = _host(mask)
    return ",".join(name for bit, name in _CT_STATES.items() if bits & bit)


def _host(value: bytes) -> int:
    """Numbers that the kernel keeps in the machine's own order."""
    return int.from_bytes(value, sys.byteorder)
