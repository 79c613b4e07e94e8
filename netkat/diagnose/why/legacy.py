"""Rules of iptables-legacy, which no trace shows: those whose counters moved during the probe.

``iptables-legacy-save -c`` takes no lock: 0.11 s at 5,000 Services. It creates the table
that it reads, so only tables that exist are read.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from netkat.diagnose.why.evidence import LegacyRule
from netkat.flow import IPAddress

_NAMES = {
    4: "/proc/thread-self/net/ip_tables_names",
    6: "/proc/thread-self/net/ip6_tables_names",
}
_SAVE = {4: "iptables-legacy-save", 6: "ip6tables-legacy-save"}
_RULE = re.compile(r"\[(\d+):\d+\] -A (\S+) (.*)")
_POLICY = re.compile(r":(\S+) (ACCEPT|DROP) \[(\d+):\d+\]")
_ORDER = ("raw", "mangle", "nat", "filter", "security")
_SEARCH = "/usr/sbin:/sbin:/usr/bin:/bin"


class Counted(NamedTuple):
    """One rule, or a chain's policy (``text`` "")."""

    table: str
    chain: str
    place: int
    text: str
    target: str


Snapshot = dict[Counted, int]


def tables(version: int) -> tuple[str, ...]:
    """The tables of iptables-legacy that exist in this namespace."""
    try:
        listed = Path(_NAMES[version]).read_text().split()
    except OSError:
        return ()
    return tuple(sorted(listed, key=_ORDER.index))


def snapshot(version: int) -> Snapshot:
    """Every rule with its packet counter; empty where there are none. Errors: OSError."""
    found: Snapshot = {}
    for table in tables(version):
        found.update(_counted(table, _save(version, table)))
    return found


def snapshot_or_note(version: int, unchecked: list[str]) -> Snapshot:
    """The same; where the rules cannot be read, a note in ``unchecked`` and no rules."""
    try:
        return snapshot(version)
    except (OSError, ValueError) as error:
        unchecked.append(f"iptables-legacy: {error}")
        return {}


def moved(
    before: Snapshot, after: Snapshot, address: IPAddress, port: int
) -> tuple[LegacyRule, ...]:
    """The rules that counted packets in between and can be about this target."""
    found = []
    for rule, packets in after.items():
        more = packets - before.get(rule, 0)
        if more > 0 and _can_match(rule, address, port):
            found.append(_recorded(rule, more))
    return tuple(found)


def about(
    version: int, address: IPAddress, port: int, protocol: str, *, local: bool
) -> tuple[LegacyRule, ...] | None:
    """kube-proxy's rules for a target, found by their text; None where kube-proxy has none here.

    ``local``: the address is this host's, so rules of NodePorts count.
    """
    rules = [
        LegacyRule(
            rule.table,
            rule.chain,
            rule.text,
            _after(_words(rule.text), "--comment"),
            rule.target,
            0,
        )
        for rule in snapshot(version)
        if rule.chain.startswith("KUBE-")
    ]
    if not rules:
        return None
    found = [rule for rule in rules if _names(rule, address, port, protocol, local)]
    wanted = {
        "KUBE-SVC-" + rule.target[len("KUBE-SVC-") :]
        for rule in found
        if rule.target.startswith(("KUBE-SVC-", "KUBE-EXT-"))
    }
    return tuple(found + [rule for rule in rules if rule.chain in wanted])


def _recorded(rule: Counted, packets: int) -> LegacyRule:
    comment = _after(_words(rule.text), "--comment")
    return LegacyRule(rule.table, rule.chain, rule.text, comment, rule.target, packets)


def _names(rule: LegacyRule, address: IPAddress, port: int, protocol: str, local: bool) -> bool:
    """Whether the rule itself names the target."""
    words = _words(rule.text)
    if (_after(words, "--dport"), _after(words, "-p")) != (str(port), protocol):
        return False
    network = _after(words, "-d")
    if not network:
        return local and rule.chain == "KUBE-NODEPORTS"
    return rule.chain in _SERVICES and address in ip_network(network, strict=False)


_SERVICES = ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES")


def _save(version: int, table: str) -> str:
    command = [_SAVE[version], "-c", "-t", table]
    try:
        return subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
            env={"PATH": _SEARCH, "LC_ALL": "C"},
        ).stdout
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from None


def _counted(table: str, saved: str) -> Iterator[tuple[Counted, int]]:
    for place, line in enumerate(saved.splitlines()):
        if found := _RULE.match(line):
            target = re.search(r" -[jg] (\S+)", " " + found[3])
            yield (
                Counted(table, found[2], place, found[3], target[1] if target else ""),
                int(found[1]),
            )
        elif found := _POLICY.match(line):
            yield Counted(table, found[1], place, "", found[2]), int(found[3])


def _can_match(rule: Counted, address: IPAddress, port: int) -> bool:
    """Counters of a busy host move by themselves: what names another target is left out.

    Only before NAT does a packet still carry the target's address.
    """
    if rule.table == "filter" or rule.chain.startswith("KUBE-SEP-"):
        return True
    words = _words(rule.text)
    if "!" in words:
        return True
    network = _after(words, "-d")
    if network and address not in ip_network(network, strict=False):
        return False
    wanted = _after(words, "--dport")
    return not wanted or wanted == str(port) or ":" in wanted


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _after(words: list[str], option: str) -> str:
    place = words.index(option) + 1 if option in words else len(words)
    return words[place] if place < len(words) else ""
