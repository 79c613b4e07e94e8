"""Being a foreign client: an address that this host's kernel does not have, answered for by us."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from netkat.errors import AddressTaken, BadArgument, GuardFailed
from netkat.flow import IPAddress
from netkat.host.links import Link
from netkat.host.routes import is_own, route_to
from netkat.wire import address_probe as probing

if TYPE_CHECKING:
    from netkat.bpf.guard.select_mode import Guard
    from netkat.wire.packet_socket import PacketSocket

_ONE_MAC = frozenset({"macvlan", "ipvlan"})
"""Links that carry frames of their own MAC alone, promiscuous or not."""


def check(address: IPAddress, link: Link) -> None:
    """Check that the address can be claimed on this link. Errors: BadArgument, NoRoute."""
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        raise BadArgument(f"--claim {address}: not one host's address")
    if is_own(address):
        raise BadArgument(
            f"--claim {address}: an address of this host", hint=f"-s {address} uses it"
        )
    way = route_to(address, interface=link.name if address.is_link_local else None)
    if way.index != link.index:
        # A pod of this node, say: to keep its packets from the kernel would cut it off.
        raise BadArgument(
            f"--claim {address}: whoever has it is on {way.interface}, not on {link.name}",
            hint="claim an address of the network that the packets leave to",
        )


def take(address: IPAddress, link: Link, wire: PacketSocket, guard: Guard) -> bytes | None:
    """Claim the address until wire and guard are closed; return the MAC to use.

    With a guard that is the interface's MAC. Otherwise it is a made-up one, so that the
    kernel takes the frames for another host's. None on a link without Ethernet header.
    Errors: AddressTaken, GuardFailed.
    """
    mac = link.mac if link.ethernet else None
    if not guard.claim(address):
        mac = _mac_of_our_own(address, link)
        if mac is not None:
            wire.be_promiscuous()
    if mac is None:
        return None
    if address.version == 6:
        wire.join(probing.solicited_node_mac(address))
    found = probing.current_owner(link.name, address, mac)
    if found is not None:
        raise AddressTaken(
            f"{address} is in use on {link.name} by {found.hex(':')}", address=address, mac=found
        )
    probing.announce(link.name, address, mac)
    return mac


def _mac_of_our_own(address: IPAddress, link: Link) -> bytes | None:
    """Return a MAC derived from the address, so that neighbour caches stay correct.

    Errors: GuardFailed.
    """
    if not link.ethernet:
        if not _forwards(address.version):
            return None  # the kernel drops what is not for it, without a word
        raise _refusal(address, link, "it forwards packets, and this link has no MACs to tell by")
    if link.kind in _ONE_MAC:
        raise _refusal(address, link, f"a {link.kind} carries frames of its own MAC alone")
    assert link.mac is not None
    digest = hashlib.blake2s(link.mac + address.packed, digest_size=6).digest()
    # Locally administered, one host's (IEEE 802, 8.2).
    return bytes([digest[0] & 0xFC | 0x02]) + digest[1:]


def _refusal(address: IPAddress, link: Link, reason: str) -> GuardFailed:
    return GuardFailed(
        f"--claim {address}: without a guard on {link.name} this host's kernel would answer:"
        f" {reason}",
        hint="the guard takes CAP_NET_ADMIN; --guard auto chooses one",
    )


def _forwards(version: int) -> bool:
    name = f"/proc/sys/net/ipv{version}/conf/all/forwarding"
    try:
        return Path(name).read_text().strip() != "0"
    except OSError:
        return True
