"""The packet socket: opened, read from, written to, and taken its interface away."""

from __future__ import annotations

import errno
import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netkat.errors import InterfaceDown, InterfaceGone, InterfaceNotFound, NetkatError
from netkat.flow import Protocol
from netkat.wire.packet_socket import RECEIVE_BUFFER, PacketSocket
from netkat.wire.vnet_hdr import Flags, GsoType, VnetHeader
from tests.helpers import packets
from tests.helpers.frames import OwnReceiveBatch, OwnSendBatch
from tests.helpers.guard_lab import quiet
from tests.helpers.netns import ROOT, Pair, netns_pair
from tests.helpers.packets import IPV4, TCP, UDP, ip, tcp, udp
from tests.helpers.wires import (
    EVERYTHING,
    between,
    collect,
    filter_of,
    flow_of,
    frames,
    send,
    udp_socket,
    wire,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
ETHERTYPE = {4: packets.IPV4, 6: packets.IPV6}


@pytest.fixture
def pair() -> Iterator[Pair]:
    with netns_pair("nkw") as ends:
        quiet(ends)
        yield ends


def datagram(pair: Pair, version: int, port: int, payload: bytes) -> bytes:
    """A frame from the host to the peer's port."""
    packet = ip(
        pair.host.address(version), pair.peer.address(version), UDP, udp(4000, port, payload)
    )
    return between(pair.host, pair.peer, packet, ETHERTYPE[version])


@BOTH
def test_frames_both_ways_in_order(pair: Pair, version: int) -> None:
    flow = flow_of(pair, version, Protocol.UDP, 4000, 5000)
    with (
        udp_socket(pair.peer, pair.peer.address(version), 5000) as peer,
        wire(pair.host, program=filter_of(flow)) as ours,
    ):
        send(ours, [datagram(pair, version, 5000, b"%d" % n) for n in range(200)])
        assert [peer.recv(99) for _ in range(200)] == [b"%d" % n for n in range(200)]
        for n in range(200):
            peer.sendto(b"%d" % n, (str(flow.local), 4000))
        assert [frame[-1] for frame in frames(ours, 200)] == [48 + n % 10 for n in range(200)]
        seen = ours.statistics()
        assert (seen.received, seen.dropped, seen.sent, seen.refused) == (200, 0, 200, {})
        assert ours.statistics() == seen, "the kernel clears its counters, ours stay"


@BOTH
def test_a_partial_checksum_and_a_super_frame_of_ours(pair: Pair, version: int) -> None:
    """The kernel completes what the virtio-net header asks for: 3 datagrams out of one frame."""
    whole = datagram(pair, version, 5000, b"abcd" * 25)
    start = 34 if version == 4 else 54
    pseudo = packets.checksum(
        (pair.host.ip_address(version).packed + pair.peer.ip_address(version).packed)
        + bytes([0, 17])
        + (108).to_bytes(2, "big")
    )
    partial = (0xFFFF ^ pseudo).to_bytes(2, "big")
    frame = whole[: start + 6] + partial + whole[start + 8 :]
    needs = VnetHeader(Flags.NEEDS_CSUM, 0, 0, 0, start, 6)
    cut = needs._replace(gso_type=GsoType.UDP_L4, gso_size=40, hdr_len=start + 8)
    with (
        udp_socket(pair.peer, pair.peer.address(version), 5000) as peer,
        wire(pair.host) as ours,
    ):
        send(ours, [frame, (needs, frame), (cut, frame)])
        # The first one's checksum is wrong as it stands: the peer's kernel throws it away.
        assert peer.recv(999) == b"abcd" * 25
        assert [len(peer.recv(999)) for _ in range(3)] == [40, 40, 20]
        assert ours.statistics().refused == {}


def test_super_frames_of_the_peer(pair: Pair) -> None:
    """What its kernel sends by TSO arrives in one piece, with a header that says so."""
    flow = flow_of(pair, 4, Protocol.TCP, 4000, 5000)

    def listener() -> socket.socket:
        return socket.create_server((pair.peer.ipv4, 5000))

    with pair.peer.call(listener) as server, wire(pair.host, program=filter_of(flow)) as ours:
        server.settimeout(5)
        # Nobody answers for our port but the kernel, whose RST would end it.
        pair.host.run(["iptables", "-I", "OUTPUT", "-p", "tcp", "--sport", "4000", "-j", "DROP"])

        def segment(seq: int, ack: int, flags: int, options: bytes = b"") -> bytes:
            body = tcp(4000, 5000, seq=seq, ack=ack, flags=flags, window=65535, options=options)
            packet = ip(pair.host.ipv4, pair.peer.ipv4, TCP, body)
            return between(pair.host, pair.peer, packet, IPV4)

        send(ours, [segment(1, 0, packets.SYN, bytes.fromhex("020405b401030307"))])
        (syn_ack,) = frames(ours, 1)
        theirs = int.from_bytes(syn_ack[38:42], "big") + 1
        send(ours, [segment(2, theirs, packets.ACK)])
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(bytes(10000))
            got = collect(ours, lambda seen: sum(len(frame) - 54 for _, frame in seen) >= 10000)
    largest, frame = max(got, key=lambda pair: len(pair[1]))
    assert len(frame) > 1514
    assert largest.gso_type == GsoType.TCPV4
    assert largest.gso_size == 1460
    assert largest.flags & Flags.NEEDS_CSUM
    assert (largest.csum_start, largest.csum_offset) == (34, 16)


EGRESS_DROP = """
table netdev t {
    chain c {
        type filter hook egress device eth0 priority 0
        udp dport 5001 drop
    }
}
"""


def test_what_the_kernel_refuses_is_counted_and_the_rest_goes(pair: Pair) -> None:
    pair.host.run(["nft", "-f", "-"], input=EGRESS_DROP)
    bad = VnetHeader(Flags.NEEDS_CSUM, 0, 0, 0, 60000, 6)
    given: list[bytes | tuple[VnetHeader, bytes]] = [
        datagram(pair, 4, 5000, b"1"),
        datagram(pair, 4, 5001, b"dropped by nft"),
        datagram(pair, 4, 5000, b"2"),
        datagram(pair, 4, 5000, bytes(1600)),
        (bad, datagram(pair, 4, 5000, b"bad header")),
        datagram(pair, 4, 5001, b"dropped by nft"),
        datagram(pair, 4, 5000, b"3"),
    ]
    with udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer, wire(pair.host) as ours:
        send(ours, given)
        assert [peer.recv(99) for _ in range(3)] == [b"1", b"2", b"3"]
        seen = ours.statistics()
    assert seen.sent == 3
    assert seen.refused == {errno.ENOBUFS: 2, errno.EMSGSIZE: 1, errno.EINVAL: 1}


@pytest.mark.parametrize("bypass", [False, True])
def test_qdisc_bypass_goes_around_tc_egress(pair: Pair, bypass: bool) -> None:
    shot = ["bytecode", "1,6 0 0 2"]  # return TC_ACT_SHOT
    pair.host.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"])
    pair.host.run(["tc", "filter", "add", "dev", "eth0", "egress", "bpf", "da", *shot])
    with (
        udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer,
        wire(pair.host, qdisc_bypass=bypass) as ours,
    ):
        send(ours, [datagram(pair, 4, 5000, b"x")])
        if bypass:
            assert peer.recv(99) == b"x"
            assert ours.statistics().refused == {}
        else:
            assert ours.statistics().refused == {errno.ENOBUFS: 1}


def test_what_we_send_does_not_come_back(pair: Pair) -> None:
    with wire(pair.host) as ours, wire(pair.peer) as theirs:
        marked = datagram(pair, 4, 5000, b"marked")
        send(ours, [marked])
        collect(theirs, lambda seen: marked in [frame for _, frame in seen])
        batch = OwnReceiveBatch()
        assert marked not in [frame for _, frame in batch.take(ours.receive(batch))]


def test_a_full_receive_buffer_is_counted(pair: Pair) -> None:
    flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
    with (
        udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer,
        wire(pair.host, program=filter_of(flow)) as ours,
    ):
        assert ours._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * RECEIVE_BUFFER
        ours._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(100):
            peer.sendto(bytes(500), (pair.host.ipv4, 4000))
        end = time.monotonic() + 5
        while ours.statistics().received < 100:
            assert time.monotonic() < end
        assert 0 < ours.statistics().dropped < 100


def slow_down(pair: Pair, rate: str) -> None:
    bucket = ["rate", rate, "burst", "1600", "limit", "1000000"]
    pair.host.run(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *bucket])


def test_a_full_send_buffer_is_waited_for(pair: Pair) -> None:
    """A slow link and room for few frames: all arrive, in order."""
    slow_down(pair, "10mbit")
    with udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer, wire(pair.host) as ours:
        peer.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)
        ours._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        send(ours, [datagram(pair, 4, 5000, b"%03d" % n + bytes(1000)) for n in range(150)])
        assert [peer.recv(2000)[:3] for _ in range(150)] == [b"%03d" % n for n in range(150)]
        assert ours.statistics().refused == {}


def test_a_stuck_device_does_not_hold_us_for_ever(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netkat.wire.packet_socket.STUCK", 0.05)
    slow_down(pair, "8kbit")
    with wire(pair.host) as ours:
        ours._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        began = time.monotonic()
        send(ours, [datagram(pair, 4, 5000, bytes(1000)) for _ in range(10)])
        assert time.monotonic() - began < 5
        seen = ours.statistics()
        assert seen.refused[errno.EAGAIN] + seen.sent == 10
        assert 0 < seen.sent < 10


def test_interface_down_and_up_socket_works_again(pair: Pair) -> None:
    batch = OwnReceiveBatch()
    with udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer, wire(pair.host) as ours:
        pair.host.ip("link set eth0 down")
        assert ours.receive(batch) == 0
        send(ours, [datagram(pair, 4, 5000, b"lost")])
        assert ours.refused(errno.ENETDOWN) == 1
        pair.host.ip("link set eth0 up")
        send(ours, [datagram(pair, 4, 5000, b"sent")])
        assert peer.recv(100) == b"sent"


def test_interface_deleted_send_raises_interface_gone(pair: Pair) -> None:
    with wire(pair.host) as ours:
        pair.host.ip("link del eth0")
        assert ours.receive(OwnReceiveBatch()) == 0
        with pytest.raises(InterfaceGone, match="eth0 was deleted") as fault:
            send(ours, [datagram(pair, 4, 5000, b"x")])
        assert fault.value.interface == "eth0"


def test_an_interface_that_is_down_or_unknown(pair: Pair) -> None:
    pair.host.ip("link set eth0 down")
    with pytest.raises(InterfaceDown, match="eth0 is down"), wire(pair.host):
        pass
    with pytest.raises(InterfaceNotFound, match="nosuch0"):
        pair.host.call(lambda: PacketSocket("nosuch0", 4711, ethernet=True, filter=EVERYTHING))


def test_close_is_idempotent_and_keeps_the_counters(pair: Pair) -> None:
    with wire(pair.host) as ours:
        send(ours, [datagram(pair, 4, 5000, b"x")])
        ours.close()
        ours.close()
        assert ours.statistics().sent == 1
        assert ours.fileno() == -1
        with pytest.raises(NetkatError, match="closed"):
            ours.receive(OwnReceiveBatch())
        with pytest.raises(NetkatError, match="closed"):
            ours.send(OwnSendBatch([b"x" * 60]), 1)


OPEN = """
import json, socket, sys
from netkat.wire.packet_socket import PacketSocket
from netkat.errors import MissingCapability
try:
    wire = PacketSocket("eth0", socket.if_nametoindex("eth0"), ethernet=True, filter=[(6, 0, 0, 0)])
    print(json.dumps(wire._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)))
except MissingCapability as error:
    print(json.dumps([error.capability, error.hint]))
"""


def without(pair: Pair, capability: str) -> Any:
    argv = [
        "setpriv",
        "--bounding-set",
        f"-{capability}",
        "--inh-caps",
        "-all",
        sys.executable,
        "-c",
        OPEN,
    ]
    return json.loads(pair.host.run([*argv, "an argument"], cwd=ROOT).stdout)


def test_without_the_capability_it_says_what_to_run(pair: Pair) -> None:
    capability, hint = without(pair, "net_raw")
    assert capability == "CAP_NET_RAW"
    assert hint.startswith(f"sudo {sys.executable} -c ")
    assert hint.endswith(" 'an argument'")


def test_without_net_admin_the_buffer_is_what_the_host_allows(pair: Pair) -> None:
    most = int(pair.host.run(["cat", "/proc/sys/net/core/rmem_max"]).stdout)
    assert without(pair, "net_admin") == 2 * min(most, RECEIVE_BUFFER)
