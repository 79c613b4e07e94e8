"""What the sender makes of a loss."""

from __future__ import annotations

import struct

from netkat.flow import Flow
from tests.stack.frames import ACK, SYN, Alone, from_peer, segment
from tests.stack.network import eventually, opened, send_all
from tests.stack.test_wire_facts import first_number

MILLISECOND = 1000
SACK_PERMITTED = b"\x01\x01\x04\x02"
PIECE = 1000


def gap(flow: Flow, first: int, acked: int, end: int, window: int) -> bytes:
    """Of the bytes from ``first`` on those to ``end`` came, but for the piece after ``acked``."""
    block = struct.pack("!BBBBII", 1, 1, 5, 10, first + acked + PIECE, first + end)
    return segment(flow, ACK, 1000, first + acked, options=block, window=window)


def test_a_loss_is_found_though_each_duplicate_widens_the_window() -> None:
    """The kernel's receiver does so while its window is small; the timer would take 200 ms more."""
    with Alone() as alone:
        flow = alone.flow()
        with alone.stack.connect(flow) as client:
            first = first_number(alone.sent()) + 1
            answer = segment(flow, SYN | ACK, 999, first, options=SACK_PERMITTED, window=8000)
            alone.put(from_peer(flow, answer))
            opened(client)
            alone.sent()  # ACK
            for _ in range(6):
                send_all(client, b"x" * PIECE)
                alone.sent()
            alone.put(from_peer(flow, segment(flow, ACK, 1000, first + PIECE, window=8000)))
            for end in range(3, 6):
                window = 8000 + 1000 * end
                alone.put(from_peer(flow, gap(flow, first, PIECE, end * PIECE, window)))
            assert eventually(lambda: alone.stack.statistics().fast_retransmits == 1)
            assert alone.stack.statistics().timeouts == 0
            assert first_number(alone.sent()) == first + PIECE


def stamps(ours: int, theirs: int) -> bytes:
    return struct.pack("!BBBBII", 1, 1, 8, 10, ours, theirs)


def stamp(frame: bytes) -> int:
    """TSval of a segment in an IPv4 frame."""
    options = frame[34 + 20 : 34 + (frame[46] >> 4) * 4]
    at = options.index(b"\x08\x0a")
    return int(struct.unpack("!I", options[at + 2 : at + 6])[0])


def test_a_lost_syn_is_not_the_round_trip_of_what_follows() -> None:
    with Alone() as alone:
        flow = alone.flow()
        with alone.stack.connect(flow) as client:
            alone.sent()  # the SYN that is lost
            again = alone.sent()
            first = first_number(again) + 1
            options = stamps(1, stamp(again))
            alone.put(from_peer(flow, segment(flow, SYN | ACK, 999, first, options=options)))
            opened(client)
            alone.sent()  # ACK
            send_all(client, b"x" * PIECE)
            options = stamps(2, stamp(alone.sent()))
            alone.put(from_peer(flow, segment(flow, ACK, 1000, first + PIECE, options=options)))
            assert eventually(lambda: client.info().rto < 900 * MILLISECOND)
