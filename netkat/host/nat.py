"""Ports that the host serves by NAT: NodePorts, hostPorts, published container ports.

They have no socket, so bind() succeeds on them; a listener would receive other
programs' packets. The rules are read with the host's nft(8) and iptables-save(8): the
expressions that nftables stores for an iptables rule are private to iptables.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from shutil import which
from typing import Any

from netkat.flow import IPAddress, Protocol
from netkat.host.capabilities import missing

_SAVE = {
    4: ("iptables-nft-save", "iptables-legacy-save"),
    6: ("ip6tables-nft-save", "ip6tables-legacy-save"),
}
_SECONDS = 10.0
_NO_REDIRECT = frozenset(
    {"ACCEPT", "RETURN", "MARK", "LOG", "MASQUERADE", "SNAT", "KUBE-MARK-MASQ"}
)
_LEGACY_TABLES = {
    4: "/proc/thread-self/net/ip_tables_names",
    6: "/proc/thread-self/net/ip6_tables_names",
}


def rule_on(protocol: Protocol, local: IPAddress, port: int) -> str | None:
    """Return the NAT rule that translates packets to this port; None without one.

    None also if the rules cannot be read: see unlisted_nat().
    """
    return _iptables_rule(protocol, local, port) or _nftables_rule(protocol, local, port)


def unlisted_nat() -> str | None:
    """Return why the NAT rules cannot be read; None if they can."""
    if missing("CAP_NET_ADMIN"):
        return "CAP_NET_ADMIN is missing"
    if which("nft") is None and which("iptables-nft-save") is None:
        return "neither nft nor iptables-save is installed"
    return None


def _iptables_rule(protocol: Protocol, local: IPAddress, port: int) -> str | None:
    for tool in _SAVE[local.version]:
        # Only asked where it holds something: asking would load the modules.
        if "legacy" in tool and not _legacy_nat(local.version):
            continue
        rules = iptables_rules(_run([tool, "-t", "nat"]))
        entered = _reachable(rules, "PREROUTING")
        for chain in entered:
            for rule in rules[chain]:
                if _takes(rule, protocol, local, port):
                    comment = _after(rule, "--comment")
                    name = f" for {comment}" if comment else ""
                    return f"a NAT rule{name} (iptables chain {chain}: {' '.join(rule)})"
    return None


def iptables_rules(saved: str) -> dict[str, list[list[str]]]:
    """The rules of iptables-save's output, as words, by their chains."""
    import shlex

    rules: dict[str, list[list[str]]] = {}
    for line in saved.splitlines():
        if line.startswith("-A "):
            words = shlex.split(line)
            rules.setdefault(words[1], []).append(words[2:])
    return rules


def _reachable(rules: dict[str, list[list[str]]], start: str) -> list[str]:
    found, todo = [], [start]
    while todo:
        chain = todo.pop()
        if chain in found or chain not in rules:
            continue
        found.append(chain)
        todo += [_after(rule, "-j") or _after(rule, "-g") for rule in rules[chain]]
    return found


def _takes(rule: list[str], protocol: Protocol, local: IPAddress, port: int) -> bool:
    target = _after(rule, "-j") or _after(rule, "-g")
    if not target or target in _NO_REDIRECT or ("!" in rule and _after(rule, "!") != "-i"):
        return False
    if _after(rule, "-p") != str(protocol):
        return False
    ports = _after(rule, "--dport") or _after(rule, "--dports")
    if not any(_in_range(part, port) for part in ports.split(",") if part):
        return False
    network = _after(rule, "-d")
    return not network or local in ip_network(network, strict=False)


def _in_range(word: str, port: int) -> bool:
    low, _, high = word.partition(":")
    return low.isdigit() and int(low) <= port <= int(high or low)


def _after(rule: list[str], option: str) -> str:
    if option not in rule:
        return ""
    place = rule.index(option) + 1
    return rule[place] if place < len(rule) else ""


def _nftables_rule(protocol: Protocol, local: IPAddress, port: int) -> str | None:
    text = _run(["nft", "-j", "list", "ruleset"])
    if not text:
        return None
    try:
        listed = json.loads(text)["nftables"]
    except (ValueError, KeyError):
        return None
    return nftables_owner(listed, protocol, local, port)


def nftables_owner(
    listed: list[dict[str, Any]], protocol: Protocol, local: IPAddress, port: int
) -> str | None:
    """What of ``nft -j list ruleset`` redirects the port: an element of a map, or a rule."""
    hooked = {
        (chain["family"], chain["table"])
        for chain in (entry.get("chain") for entry in listed)
        if chain and chain.get("type") == "nat" and chain.get("hook") == "prerouting"
    }
    for entry in listed:
        kind, found = next(iter(entry.items()))
        if kind not in ("map", "rule") or (found["family"], found["table"]) not in hooked:
            continue
        where = f"nftables {kind} {found['family']} {found['table']}"
        if kind == "map" and found.get("map") == "verdict":
            for key, verdict in found.get("elem", ()):
                if _key_fits(key, protocol, local, port) and "drop" not in verdict:
                    return f"a NAT rule ({where} {found['name']}: {_verdict(verdict)})"
        elif kind == "rule" and _rule_fits(found["expr"], protocol, local, port):
            return f"a NAT rule ({where} {found['chain']})"
    return None


def _key_fits(key: Any, protocol: Protocol, local: IPAddress, port: int) -> bool:
    """A map's key such as ``10.0.0.1 . tcp . 30080``: the port, and nothing that differs."""
    if isinstance(key, dict) and "elem" in key:
        key = key["elem"]["val"]
    parts = key["concat"] if isinstance(key, dict) and "concat" in key else [key]
    if port not in parts or str(protocol) not in parts:
        return False
    others = [part for part in parts if part not in (port, str(protocol))]
    return all(part == str(local) for part in others)


def _rule_fits(
    expressions: list[dict[str, Any]], protocol: Protocol, local: IPAddress, port: int
) -> bool:
    matched = False
    for expression in expressions:
        match = expression.get("match")
        if match is None:
            continue
        payload = match["left"].get("payload", {}) if isinstance(match["left"], dict) else {}
        field, right = payload.get("field"), match["right"]
        if field == "dport":
            if payload.get("protocol") not in (str(protocol), "th") or match["op"] != "==":
                return False
            if port not in _ports(right):
                return False
            matched = True
        elif field == "daddr" and (match["op"] != "==") == (str(local) in _words(right)):
            return False
    translates = any({"dnat", "redirect"} & set(expression) for expression in expressions)
    return matched and translates


def _ports(right: Any) -> Iterator[int]:
    for part in right["set"] if isinstance(right, dict) and "set" in right else [right]:
        if isinstance(part, int):
            yield part
        elif isinstance(part, dict) and "range" in part:
            low, high = part["range"]
            yield from range(low, high + 1)


def _words(right: Any) -> list[Any]:
    return list(right["set"]) if isinstance(right, dict) and "set" in right else [right]


def _verdict(verdict: dict[str, Any]) -> str:
    kind, target = next(iter(verdict.items()))
    return f"{kind} {target['target']}" if isinstance(target, dict) else kind


def _legacy_nat(version: int) -> bool:
    try:
        with open(_LEGACY_TABLES[version], encoding="ascii") as names:
            return "nat" in names.read().split()
    except OSError:
        return False


def _run(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
