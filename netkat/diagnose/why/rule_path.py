"""A packet's path through one base chain in one line: the rules that led to the deciding one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from netkat.diagnose.why import names
from netkat.diagnose.why.evidence import LegacyRule, Step

_COMMENT = re.compile(r'-m comment --comment ("(?:[^"\\]|\\.)*"|\S+) ?')


def describe(steps: Sequence[Step], deciding: Step) -> str:
    """``TABLE: CHAIN > CHAIN (COMMENT) > CHAIN: WHAT``, from the base chain to this step."""
    chains: list[tuple[str, str]] = []
    for step in _traversal(steps, deciding):
        while chains and chains[-1][0] != step.chain and _chain_in(chains, step.chain):
            chains.pop()
        if not chains or chains[-1][0] != step.chain:
            chains.append((step.chain, ""))
        if step is deciding:
            break
        if step.jump:
            chains[-1] = (step.chain, step.comment)
            chains.append((step.jump, ""))
    shown = [names.short(chain) + (f" ({comment})" if comment else "") for chain, comment in chains]
    return f"{deciding.table}: {' > '.join(shown)}: {what(deciding)}"


def what(step: Step) -> str:
    """What the step does to the packet."""
    if step.kind == "policy":
        return f"policy {step.verdict}"
    quoted = f' "{step.comment}"' if step.comment else ""
    # nft adds both itself where a rule names ip, ip6, tcp or udp.
    text = re.sub(r"meta nfproto ipv[46] ", "", step.text)
    text = re.sub(r"meta l4proto (tcp|udp) th ", r"\1 ", text)
    text = re.sub(r"meta l4proto (tcp|udp)\b", r"\1", text)
    if step.stops:
        return (
            ("reject" if step.rejects else step.verdict) + quoted + (f" [{text}]" if text else "")
        )
    if step.translates:
        return _translation(text) + quoted
    return (step.verdict or "accept") + quoted + (f" [{text}]" if text else "")


def describe_legacy(rules: Sequence[LegacyRule], deciding: LegacyRule) -> str:
    """The same for iptables-legacy, by the jumps of the rules that counted the packet."""
    chains = [deciding.chain]
    while parent := _parent(rules, deciding.table, chains[0]):
        if parent.chain in chains:
            break
        chains.insert(0, parent.chain)
    action = f"policy {deciding.target}" if not deciding.text else deciding.target
    quoted = f' "{deciding.comment}"' if deciding.comment else ""
    text = f" [{_COMMENT.sub('', deciding.text)}]" if deciding.text else ""
    return f"iptables-legacy {deciding.table}: {' > '.join(chains)}: {action}{quoted}{text}"


def base_chain(rules: Sequence[LegacyRule], rule: LegacyRule) -> str:
    """The built-in chain of iptables that leads to a rule."""
    chain, seen = rule.chain, set[str]()
    while chain not in seen and (parent := _parent(rules, rule.table, chain)):
        seen.add(chain)
        chain = parent.chain
    return chain


def _parent(rules: Sequence[LegacyRule], table: str, chain: str) -> LegacyRule | None:
    return next((rule for rule in rules if (rule.table, rule.target) == (table, chain)), None)


def _traversal(steps: Sequence[Step], deciding: Step) -> list[Step]:
    """The steps of the same packet in the same base chain of the same table."""
    place = (deciding.packet, deciding.table, deciding.hook, deciding.base)
    return [step for step in steps if (step.packet, step.table, step.hook, step.base) == place]


def _chain_in(chains: list[tuple[str, str]], chain: str) -> bool:
    return any(name == chain for name, _ in chains)


def _translation(text: str) -> str:
    if "masquerade" in text or "-j MASQUERADE" in text:
        return "masquerade"
    if "snat" in text or "-j SNAT" in text:
        return "SNAT"
    if "redirect" in text or "-j REDIRECT" in text:
        return "redirect"
    place = text.find("dnat to ")
    return f"DNAT {text[place + 5 :]}" if place >= 0 else "DNAT"
