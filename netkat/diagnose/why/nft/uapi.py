"""Numbers of linux/netfilter/nf_tables.h and nfnetlink.h, and the header of every message."""

from __future__ import annotations

import enum
import struct
from typing import Final

NFT: Final = 10 << 8
"""NFNL_SUBSYS_NFTABLES, in the upper byte of a message type."""

BATCH_BEGIN, BATCH_END = 16, 17
NEWTABLE, NEWCHAIN, GETCHAIN, NEWRULE, GETRULE = 0, 3, 4, 6, 7
GETTABLE, GETSETELEM, NEWGEN, GETGEN, TRACE = 1, 13, 15, 16, 17

NFPROTO_INET, NFPROTO_IPV4, NFPROTO_ARP, NFPROTO_NETDEV = 1, 2, 3, 5
NFPROTO_BRIDGE, NFPROTO_IPV6 = 7, 10
FAMILIES: Final = {
    NFPROTO_INET: "inet",
    NFPROTO_IPV4: "ip",
    NFPROTO_ARP: "arp",
    NFPROTO_NETDEV: "netdev",
    NFPROTO_BRIDGE: "bridge",
    NFPROTO_IPV6: "ip6",
}

TABLE_OWNER: Final = 2
"""NFT_TABLE_F_OWNER (Linux 5.12): the table goes when the owner's socket closes."""

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
"""enum nf_inet_hooks."""

TABLE_NAME, TABLE_FLAGS = 1, 2
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 1, 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
RULE_TABLE, RULE_CHAIN, RULE_HANDLE, RULE_EXPRESSIONS, RULE_USERDATA = 1, 2, 3, 4, 7
LIST_ELEM: Final = 1
EXPR_NAME, EXPR_DATA = 1, 2
DATA_VALUE, DATA_VERDICT = 1, 2
VERDICT_CODE, VERDICT_CHAIN = 1, 2
SET_ELEMENTS_TABLE, SET_ELEMENTS_SET, SET_ELEMENTS = 1, 2, 3
ELEMENT_KEY, ELEMENT_DATA, ELEMENT_USERDATA = 1, 2, 6
GEN_ID: Final = 1

USERDATA_COMMENT: Final = 0
"""First type of the libnftnl userdata of rules and set elements."""


class Verdict(enum.IntEnum):
    """Verdict codes of nf_tables; those of a trace's policy are DROP and ACCEPT."""

    DROP = 0
    ACCEPT = 1
    STOLEN = 2
    QUEUE = 3
    CONTINUE = -1
    BREAK = -2
    JUMP = -3
    GOTO = -4
    RETURN = -5

    def __str__(self) -> str:
        return self.name.lower()


NFGENMSG: Final = struct.Struct("!BBH")


def nfgenmsg(family: int, resource: int = 0) -> bytes:
    """``struct nfgenmsg``, which begins every message's body."""
    return NFGENMSG.pack(family, 0, resource)


def name(value: str) -> bytes:
    """A string attribute's value."""
    return value.encode() + b"\0"


def be32(value: int) -> bytes:
    """A number of nf_tables, which has them in network order."""
    return struct.pack("!I", value & 0xFFFFFFFF)


def be64(value: int) -> bytes:
    """A handle."""
    return struct.pack("!Q", value)


def number(value: bytes | None, signed: bool = False) -> int | None:
    """An attribute in network order; None where it is absent."""
    return None if value is None else int.from_bytes(value, "big", signed=signed)


def verdict_of(code: int) -> Verdict | None:
    """The verdict; None for a code that is not known here (NF_QUEUE with its number)."""
    try:
        return Verdict(code)
    except ValueError:
        return Verdict.QUEUE if code & 0xFF == Verdict.QUEUE else None


def comment_of(userdata: bytes) -> str:
    """The comment in a rule's or an element's userdata: type, length, value."""
    at = 0
    while at + 2 <= len(userdata):
        kind, length = userdata[at], userdata[at + 1]
        if kind == USERDATA_COMMENT:
            value = userdata[at + 2 : at + 2 + length]
            return value.rstrip(b"\0").decode(errors="backslashreplace")
        at += 2 + length
    return ""
