"""UDP segmentation offload: datagrams that leave several at once, and frames that hold several."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import pytest

import netkat
from tests.helpers.netns import Host, Pair, without_offloads
from tests.helpers.wires import udp_socket

BOTH = pytest.mark.parametrize("version", [4, 6])
SOL_PACKET, PACKET_VNET_HDR, SOL_UDP, UDP_SEGMENT = 263, 15, 17, 103
SO_RCVBUFFORCE = 33
GSO_UDP_L4 = 5
SIZE = 1400


def payload(number: int, size: int = SIZE) -> bytes:
    """Bytes that say which datagram they are, to their end."""
    return (struct.pack("!I", number) * (size // 4 + 1))[:size]


@contextlib.contextmanager
def frames_with_vnet_header(side: Host) -> Iterator[socket.socket]:
    """A packet socket that reads the virtio-net header of each frame."""
    tap = side.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    with tap:
        tap.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        tap.bind((side.interface, 3))
        tap.settimeout(5)
        yield tap


def sent_by(tap: socket.socket, version: int, port: int, total: int) -> list[tuple[int, int, int]]:
    """(GSO type, GSO size, payload) of the frames to a port, until they hold so many bytes."""
    found: list[tuple[int, int, int]] = []
    udp = 10 + 14 + (20 if version == 4 else 40)
    while sum(size for _, _, size in found) < total:
        frame = tap.recv(70000)
        if len(frame) > udp + 8 and frame[udp + 2 : udp + 4] == port.to_bytes(2, "big"):
            found.append((frame[1], struct.unpack("<H", frame[4:6])[0], len(frame) - udp - 8))
    return found


@BOTH
@pytest.mark.parametrize("offloads", [True, False])
def test_burst_arrives_whole_and_in_order(pair: Pair, version: int, offloads: bool) -> None:
    if not offloads:
        for side in (pair.host, pair.peer):
            without_offloads(side, side.interface)
    address = pair.peer.address(version)
    with (
        udp_socket(pair.peer, address, 5000) as server,
        frames_with_vnet_header(pair.peer) as tap,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((address, 5000), timeout=5) as conn,
    ):
        server.settimeout(5)
        server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        conn.send(b"first")  # the next hop's MAC is known afterwards
        assert server.recv(100) == b"first"
        for number in range(500):
            assert conn.send(payload(number)) == SIZE
        for number in range(500):
            assert server.recv(65536) == payload(number)
        frames = sent_by(tap, version, 5000, 5 + 500 * SIZE)
    merged = [one for one in frames if one[0] == GSO_UDP_L4]
    assert bool(merged) == offloads, "the sender's device cuts a frame where the veth cannot"
    # veth delivers a segment that is larger than the MTU without a word, so the header counts.
    assert {size for _, size, _ in merged} <= {SIZE}
    assert all(size <= 64 * SIZE for _, _, size in merged)
    assert all(size <= SIZE for kind, _, size in frames if kind != GSO_UDP_L4)


def test_datagrams_of_different_sizes_keep_their_bounds(pair: Pair) -> None:
    sizes = [SIZE, SIZE, 100, SIZE, 7, 7, 0, 1472, 1472, 3000, 1, SIZE]
    address = pair.peer.ipv4
    with (
        udp_socket(pair.peer, address, 5000) as server,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((address, 5000), timeout=5) as conn,
    ):
        server.settimeout(5)
        for number, size in enumerate(sizes):
            conn.send(payload(number, size))
        assert [server.recv(65536) for _ in sizes] == [payload(n, s) for n, s in enumerate(sizes)]


def test_the_last_of_a_burst_leaves_by_itself(pair: Pair) -> None:
    address = pair.peer.ipv4
    with (
        udp_socket(pair.peer, address, 5000) as server,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((address, 5000), timeout=5) as conn,
    ):
        server.settimeout(5)
        for _ in range(20):
            for number in range(3):
                conn.send(payload(number))
            sent = time.monotonic()
            assert [server.recv(65536) for _ in range(3)] == [payload(n) for n in range(3)]
            waited = time.monotonic() - sent
            if waited < 0.01:
                return
        pytest.fail(f"20 times the last datagram took more than 10 ms, {waited * 1000:.1f} at last")


def test_close_sends_the_rest_of_a_burst(pair: Pair) -> None:
    address = pair.peer.ipv4
    with (
        udp_socket(pair.peer, address, 5000) as server,
        netkat.Stack(netns=pair.host.name) as stack,
    ):
        server.settimeout(5)
        for _ in range(20):
            with stack.open_datagram((address, 5000), timeout=5) as conn:
                for number in range(5):
                    conn.send(payload(number))
            assert [server.recv(65536) for _ in range(5)] == [payload(n) for n in range(5)]


@BOTH
def test_frame_of_several_datagrams_is_split(pair: Pair, version: int) -> None:
    address = pair.peer.address(version)
    with (
        udp_socket(pair.peer, address, 5000) as server,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((address, 5000), timeout=5) as conn,
    ):
        server.settimeout(5)
        conn.send(b"where I am")
        client = server.recvfrom(100)[1]
        server.setsockopt(SOL_UDP, UDP_SEGMENT, 1000)
        whole = b"".join(payload(number, 1000) for number in range(40)) + b"the rest"
        server.sendto(whole, client)
        expected = [payload(number, 1000) for number in range(40)] + [b"the rest"]
        assert [conn.recv(65536) for _ in expected] == expected
