"""Single objects of the rule set: a rule by handle, a chain by name, a map's element by key."""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from netkat import netlink
from netkat.diagnose.why.nft import expressions, uapi
from netkat.netlink import attribute, nested
from netkat.resources import Closeable


class Rule(NamedTuple):
    """One rule: ``text`` as far as it can be written back, ``comment``, what it does at the end.

    ``rejects``: it answers with an error (reject, or xtables' REJECT) where it drops.
    ``sets`` are the names of sets and maps that it looks in.
    """

    handle: int
    text: str
    comment: str
    rejects: bool
    translates: bool
    sets: tuple[str, ...]
    jump: str = ""
    """The chain that it jumps or goes to by itself."""


class ChainFacts(NamedTuple):
    """One chain; ``hook`` None where it is no base chain, ``policy`` None likewise."""

    name: str
    hook: int | None
    priority: int
    policy: uapi.Verdict | None
    type: str


class Element(NamedTuple):
    """An element of a set or a verdict map."""

    verdict: uapi.Verdict | None
    jump: str
    comment: str


class RuleSet(Closeable):
    """Asks the rule set of the network namespace that it was opened in. Needs CAP_NET_ADMIN."""

    def __init__(self) -> None:
        self._kernel = netlink.Netlink(netlink.NETLINK_NETFILTER)

    def close(self) -> None:
        """Close; idempotent."""
        self._kernel.close()

    def generation(self) -> int:
        """The number of the transactions so far: one that has changed means new rules."""
        body = self._kernel.get(uapi.NFT | uapi.GETGEN, uapi.nfgenmsg(0))
        found = netlink.attributes(body, uapi.NFGENMSG.size)
        return uapi.number(found.get(uapi.GEN_ID)) or 0

    def rule(self, family: int, table: str, chain: str, handle: int) -> Rule | None:
        """One rule; None where it has gone."""
        body = _chain_key(family, table, chain) + attribute(uapi.RULE_HANDLE, uapi.be64(handle))
        found = self._get(uapi.GETRULE, body)
        return None if found is None else _rule(found)

    def rules(self, family: int, table: str, chain: str) -> list[Rule]:
        """The rules of one chain, in order."""
        body = _chain_key(family, table, chain)
        try:
            answers = self._kernel.dump(uapi.NFT | uapi.GETRULE, body)
        except netlink.NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        return [_rule(answer) for answer in answers]

    def chain(self, family: int, table: str, name: str) -> ChainFacts | None:
        """One chain; None where it is absent."""
        key = attribute(uapi.CHAIN_TABLE, uapi.name(table))
        key += attribute(uapi.CHAIN_NAME, uapi.name(name))
        found = self._get(uapi.GETCHAIN, uapi.nfgenmsg(family) + key)
        return None if found is None else _chain(found)

    def has_table(self, family: int, name: str) -> bool:
        """Whether a table of this name exists."""
        key = attribute(uapi.TABLE_NAME, uapi.name(name))
        return self._get(uapi.GETTABLE, uapi.nfgenmsg(family) + key) is not None

    def element(self, family: int, table: str, name: str, key: bytes) -> Element | None:
        """The element of a set or map with this very key; None without one."""
        wanted = nested(uapi.LIST_ELEM, nested(uapi.ELEMENT_KEY, attribute(uapi.DATA_VALUE, key)))
        body = _set_key(family, table, name) + nested(uapi.SET_ELEMENTS, wanted)
        found = self._get(uapi.GETSETELEM, body)
        if found is None:
            return None
        elements = _elements(found)
        return elements[0] if elements else None

    def elements(self, family: int, table: str, name: str) -> list[Element]:
        """Every element: for the anonymous map of one rule, never for a map of Services."""
        try:
            answers = self._kernel.dump(uapi.NFT | uapi.GETSETELEM, _set_key(family, table, name))
        except netlink.NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        return [element for answer in answers for element in _elements(answer)]

    def _get(self, kind: int, body: bytes) -> bytes | None:
        try:
            return self._kernel.get(uapi.NFT | kind, body)
        except netlink.NetlinkError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return None
            raise


def concatenation(*parts: bytes) -> bytes:
    """A key of several fields: each is padded to a register of four bytes."""
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


def _chain_key(family: int, table: str, chain: str) -> bytes:
    key = attribute(uapi.RULE_TABLE, uapi.name(table))
    return uapi.nfgenmsg(family) + key + attribute(uapi.RULE_CHAIN, uapi.name(chain))


def _set_key(family: int, table: str, name: str) -> bytes:
    key = attribute(uapi.SET_ELEMENTS_TABLE, uapi.name(table))
    return uapi.nfgenmsg(family) + key + attribute(uapi.SET_ELEMENTS_SET, uapi.name(name))


def _rule(body: bytes) -> Rule:
    found = netlink.attributes(body, uapi.NFGENMSG.size)
    listed = expressions.parse(found.get(uapi.RULE_EXPRESSIONS, b""))
    comments = [one.comment for one in listed if one.comment]
    kinds = {one.kind for one in listed}
    return Rule(
        handle=uapi.number(found.get(uapi.RULE_HANDLE)) or 0,
        text=expressions.text(listed),
        comment=uapi.comment_of(found.get(uapi.RULE_USERDATA, b"")) or " ".join(comments),
        rejects="reject" in kinds,
        translates=bool(kinds & {"nat", "redir", "tproxy"}),
        sets=tuple(one.set_name for one in listed if one.set_name),
        jump=next((one.jump for one in listed if one.jump), ""),
    )


def _chain(body: bytes) -> ChainFacts:
    found = netlink.attributes(body, uapi.NFGENMSG.size)
    hook = netlink.attributes(found.get(uapi.CHAIN_HOOK, b""))
    policy = uapi.number(found.get(uapi.CHAIN_POLICY))
    return ChainFacts(
        name=netlink.text(found.get(uapi.CHAIN_NAME, b"")),
        hook=uapi.number(hook.get(uapi.HOOK_NUMBER)),
        priority=uapi.number(hook.get(uapi.HOOK_PRIORITY), signed=True) or 0,
        policy=None if policy is None else uapi.verdict_of(policy),
        type=netlink.text(found.get(uapi.CHAIN_TYPE, b"")),
    )


def _elements(body: bytes) -> list[Element]:
    found = netlink.attributes(body, uapi.NFGENMSG.size)
    listed = netlink.attribute_list(found.get(uapi.SET_ELEMENTS, b""))
    return [_element(netlink.attributes(data)) for _, data in listed]


def _element(found: dict[int, bytes]) -> Element:
    data = netlink.attributes(found.get(uapi.ELEMENT_DATA, b""))
    verdict = netlink.attributes(data.get(uapi.DATA_VERDICT, b""))
    code = verdict.get(uapi.VERDICT_CODE)
    return Element(
        verdict=None if code is None else uapi.verdict_of(struct.unpack("!i", code)[0]),
        jump=netlink.text(verdict.get(uapi.VERDICT_CHAIN, b"")),
        comment=uapi.comment_of(found.get(uapi.ELEMENT_USERDATA, b"")),
    )
