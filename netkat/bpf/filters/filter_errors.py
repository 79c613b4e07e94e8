"""The position of an error in a filter expression: libpcap reports the error, not its position."""

from __future__ import annotations

import re
from typing import Protocol

from netkat.bpf.filters.libpcap import NETMASK_UNKNOWN, FilterRefused, Instruction

_TOKEN = re.compile(r"[()!\[\]]|&&|\|\||[<>=]=?|[^\s()!\[\]<>=&|]+|\S")
_QUOTED = re.compile(r"'([^']+)'")

_CONTINUATIONS = (
    "",
    " 1",
    " tcp",
    " port 1",
    " host 192.0.2.1",
    " 192.0.2.1",
    " net 192.0.2.0/24",
    " 00:00:00:00:00:00",
    " 1-2",
    " 0] = 0",
    "] = 0",
    " = 0",
    " in",
    " 1 and tcp",
)
"""One of these makes a whole filter of any beginning that can still become one."""


class Compiler(Protocol):
    """What compiles: libpcap.Handle."""

    def compile(self, expression: str, *, optimize: bool, netmask: int) -> list[Instruction]: ...


def explain(expression: str, refused: FilterRefused, compiler: Compiler) -> FilterRefused:
    """The same refusal, with the expression and a mark under the word at fault."""
    place = _locate(expression, refused.reason, compiler)
    text = f"filter: {refused.reason}"
    if place is None:
        return FilterRefused(f"{text}, in: {expression}", reason=refused.reason)
    start, end = place
    if start >= len(expression):
        return FilterRefused(f"{text}: unexpected end: {expression}", reason=refused.reason)
    word = expression[start:end]
    marked = f"{expression[:start]}>>>{word}<<<{expression[end:]}"
    return FilterRefused(
        f"{text}, at {word!r} (character {start + 1})",
        reason=refused.reason,
        hint=f"check this part: {marked}",
    )


def _locate(expression: str, reason: str, compiler: Compiler) -> tuple[int, int] | None:
    tokens = list(_TOKEN.finditer(expression))
    quoted = _QUOTED.search(reason)
    if quoted:
        for token in tokens:
            if token.group() == quoted.group(1):
                return token.span()
    for token in tokens:
        if not _viable(expression[: token.end()], compiler):
            return token.span()
    if "syntax" in reason:
        return len(expression), len(expression)
    return None


def _viable(beginning: str, compiler: Compiler) -> bool:
    closing = ")" * max(beginning.count("(") - beginning.count(")"), 0)
    for continuation in _CONTINUATIONS:
        try:
            compiler.compile(
                f"{beginning}{continuation}{closing}", optimize=False, netmask=NETMASK_UNKNOWN
            )
        except FilterRefused as refused:
            # Only a syntax error means that the words are in an invalid order.
            if "syntax error" not in refused.reason and "illegal" not in refused.reason:
                return True
            continue
        return True
    return False
