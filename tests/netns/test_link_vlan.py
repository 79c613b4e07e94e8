"""Tagged frames: another VLAN's equal five-tuple is another network's, a priority tag is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from netkat import Stack
from netkat.conn import UdpConnection
from netkat.flow import Flow, Protocol
from tests.helpers.netns import Pair
from tests.helpers.packets import IPV4, IPV6, UDP, ethernet, ip, udp
from tests.helpers.wires import send, wire

ANOTHER_VLAN, PRIORITY_ALONE = 0x0005, 0xA000


@contextmanager
def opened(pair: Pair, version: int, step: str) -> Iterator[tuple[UdpConnection, Stack, Flow]]:
    with Stack(netns=pair.host.name, guard=step) as stack:
        remote = pair.peer.address(version)
        with stack.open_datagram((remote, 5000), source_address=("", 4000)) as conn:
            local = ip_address(pair.host.address(version))
            yield conn, stack, Flow(Protocol.UDP, local, 4000, ip_address(remote), 5000)


def frame(pair: Pair, version: int, payload: bytes, tag: int | None = None) -> bytes:
    """A datagram of the peer's, with a tag in it as a cable would carry it."""
    packet = ip(
        pair.peer.address(version), pair.host.address(version), UDP, udp(5000, 4000, payload)
    )
    ethertype = IPV4 if version == 4 else IPV6
    macs = [bytes.fromhex(side.mac.replace(":", "")) for side in (pair.peer, pair.host)]
    if tag is not None:
        packet, ethertype = tag.to_bytes(2, "big") + ethertype.to_bytes(2, "big") + packet, 0x8100
    return ethernet(packet, ethertype, source=macs[0], destination=macs[1])


@pytest.mark.parametrize("step", ["tcx", "clsact"])
@pytest.mark.parametrize("version", [4, 6])
def test_another_vlan_is_left_alone(pair: Pair, version: int, step: str) -> None:
    """Neither netkat gets it, nor is it kept from the kernel."""
    with opened(pair, version, step) as (conn, stack, flow), wire(pair.peer) as cable:
        uplink = stack._bypass._attachments.usable()[0]
        before = uplink.wire.statistics().received
        send(cable, [frame(pair, version, b"tagged", ANOTHER_VLAN)] * 3)
        send(cable, [frame(pair, version, b"untagged")])
        conn.settimeout(5)
        assert conn.recv(100) == b"untagged"
        assert uplink.guard.kept(flow) == 1
        assert uplink.wire.statistics().received == before + 1


@pytest.mark.parametrize("version", [4, 6])
def test_a_priority_tag_is_no_vlan(pair: Pair, version: int) -> None:
    with opened(pair, version, "tcx") as (conn, stack, flow), wire(pair.peer) as cable:
        send(cable, [frame(pair, version, b"urgent", PRIORITY_ALONE)])
        conn.settimeout(5)
        assert conn.recv(100) == b"urgent"
        assert stack._bypass._attachments.usable()[0].guard.kept(flow) == 1
