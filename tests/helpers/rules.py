"""The firewalls that a flow has to live through, put up inside a namespace.

Each drops all IPv4 and IPv6 but neighbour discovery, without which an IPv6 host
has no neighbours at all (ARP never meets these hooks). They vanish with the
namespace.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.helpers.netns import Namespace

BACKENDS = ("iptables-nft", "iptables-legacy", "nft")
HOOKS = ("output", "input", "raw")
CHAINS = {
    "output": ("filter", "OUTPUT"),
    "input": ("filter", "INPUT"),
    "raw": ("raw", "PREROUTING"),
}
NFT_HOOKS = {
    "output": ("output", "filter"),
    "input": ("input", "filter"),
    "raw": ("prerouting", "raw"),
}
DISCOVERY = (
    "router-solicitation",
    "router-advertisement",
    "neighbour-solicitation",
    "neighbour-advertisement",
)
NFT_DISCOVERY = (
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }"
)


@dataclass(frozen=True)
class RuleSet:
    """One firewall of the matrix: ``rules`` is none, output, input, raw, inet or all."""

    rules: str
    backend: str

    def __str__(self) -> str:
        return self.rules if self.rules in ("none", "inet") else f"{self.rules}/{self.backend}"

    def load(self, space: Namespace) -> None:
        """Put it up."""
        if self.rules == "none":
            return
        if self.rules == "inet":
            load_nft_inet(space)
            return
        hooks = HOOKS if self.rules == "all" else (self.rules,)
        for hook in hooks:
            load_hook(space, hook, self.backend)
        if self.rules == "all":
            load_nft_inet(space)


MATRIX = (
    RuleSet("none", "none"),
    *(RuleSet(hook, backend) for hook in HOOKS for backend in BACKENDS),
    RuleSet("inet", "nft"),
    *(RuleSet("all", backend) for backend in BACKENDS),
)
"""Every rule set of the test matrix, by every tool that can write it."""


def load_hook(space: Namespace, hook: str, backend: str) -> None:
    """Drop everything at one hook, both families."""
    if backend == "nft":
        for family in ("ip", "ip6"):
            kernel_hook, priority = NFT_HOOKS[hook]
            accept = [f"{NFT_DISCOVERY} accept"] if family == "ip6" else []
            drop = nft_chain("c", "filter", kernel_hook, priority, *accept, "counter drop")
            nft(space, nft_table(f"{family} t_{hook}", drop))
        return
    table, chain = CHAINS[hook]
    flavour = backend.removeprefix("iptables-")
    for kind in DISCOVERY:
        space.run(
            [
                f"ip6tables-{flavour}",
                "-w",
                "-t",
                table,
                "-A",
                chain,
                "-p",
                "ipv6-icmp",
                "--icmpv6-type",
                kind,
                "-j",
                "ACCEPT",
            ]
        )
    for tool in ("iptables", "ip6tables"):
        space.run([f"{tool}-{flavour}", "-w", "-t", table, "-A", chain, "-j", "DROP"])


def load_nft_inet(space: Namespace) -> None:
    """A table of family inet that drops in and out, before everything else."""
    chains = [
        nft_chain(hook, "filter", hook, "-310", f"{NFT_DISCOVERY} accept", "counter drop")
        for hook in ("prerouting", "input", "forward", "output", "postrouting")
    ]
    nft(space, nft_table("inet t_inet", *chains))


def nft_table(name: str, *chains: str) -> str:
    """A table as text; nft wants each chain and rule on a line of its own."""
    return "\n".join([f"table {name} {{", *chains, "}"])


def nft_chain(name: str, kind: str, hook: str, priority: str, *rules: str) -> str:
    """A base chain as text."""
    head = f"chain {name} {{\ntype {kind} hook {hook} priority {priority};"
    return "\n".join([head, *rules, "}"])


def nft(space: Namespace, text: str) -> None:
    """Load a piece of ruleset."""
    space.run(["nft", "-f", "-"], input=text)


def connections(space: Namespace) -> str:
    """The conntrack table inside, both families, one entry a line."""
    return "".join(
        space.run(["conntrack", "-L", "-f", family]).stdout for family in ("ipv4", "ipv6")
    )


def track_connections(space: Namespace) -> None:
    """Have conntrack look at everything here: without a rule that needs it, it does not."""
    look = "ct state new counter"
    chains = [nft_chain(hook, "filter", hook, "0", look) for hook in ("prerouting", "output")]
    nft(space, nft_table("inet t_track", *chains))


def masquerade(space: Namespace, out_interface: str) -> None:
    """Source NAT for what is forwarded out of an interface, as a node does for its pods."""
    space.sysctl("net.ipv4.ip_forward", 1)
    rule = f'oifname "{out_interface}" counter masquerade'
    nft(space, nft_table("ip t_nat", nft_chain("post", "nat", "postrouting", "srcnat", rule)))
