"""Flows as --stats counts them."""

from __future__ import annotations

from netkat.capture.flow_statistics import FlowStatistics
from netkat.capture.packet import Packet
from netkat.commands.sniff.flow_report import table_lines
from tests.helpers.sniff_frames import A4, ACK, B4, FA, PA, SA, S, ether, ip4, ip6, tcp, udp

MS = 1_000_000


def segment(
    time: int, flags: int, seq: int, ack: int, payload: bytes = b"", *, back: bool = False
) -> Packet:
    source, target = (B4, A4) if back else (A4, B4)
    sport, dport = (80, 40000) if back else (40000, 80)
    body = tcp(sport, dport, flags, seq, ack, payload, source=source, target=target)
    frame = ether(0x800, ip4(6, body, source, target))
    return Packet(time * MS, len(frame), frame)


def count(packets: list[Packet]) -> FlowStatistics:
    table = FlowStatistics()
    for packet in packets:
        table.add(packet)
    return table


def test_a_connection_and_its_round_trip() -> None:
    table = count(
        [
            segment(0, S, 100, 0),
            segment(8, SA, 500, 101, back=True),
            segment(10, ACK, 101, 501),
            segment(20, PA, 101, 501, b"x" * 50),
            segment(28, ACK, 501, 151, back=True),
            segment(30, PA, 501, 151, b"y" * 500, back=True),
            segment(32, ACK, 151, 1001),
            segment(40, FA, 151, 1001),
        ]
    )
    (flow,) = table.top()
    assert str(flow) == "tcp 10.0.0.1.40000 > 10.0.0.2.80"
    assert (flow.forth.packets, flow.back.packets, flow.packets) == (5, 3, 8)
    assert flow.bytes == table.bytes == sum((54, 54, 54, 104, 54, 554, 54, 54))
    assert flow.retransmits == 0
    # 8 ms from here to the peer and back, 2 ms from here to our side and back.
    assert flow.rtt_ns == 10 * MS
    assert table_lines(table, None)[-1].startswith("1 flow, 8 packets, ")
    assert table_lines(table, None)[1].split()[-5:] == ["8", "982", "0", "10.000", "0.040"]


def test_retransmissions_are_told_from_keepalives_and_reordering() -> None:
    data = b"x" * 100
    table = count(
        [
            segment(0, PA, 1000, 1, data),
            segment(1, PA, 1100, 1, data),
            segment(200, PA, 1000, 1, data),  # again
            segment(201, ACK, 1, 1200, back=True),
            segment(300, ACK, 1199, 1, b"\0"),  # a keepalive with a byte
            segment(301, ACK, 1200, 1),
        ]
    )
    (flow,) = table.top()
    assert (flow.forth.retransmits, flow.back.retransmits) == (1, 0)
    # The acknowledgment may be of either copy (Karn): no time is taken.
    assert flow.rtt_ns is None


def test_sequence_numbers_that_wrap() -> None:
    table = count(
        [
            segment(0, PA, 0xFFFFFFF0, 1, b"x" * 32),
            segment(5, ACK, 1, 0x10, back=True),
            segment(6, PA, 0x10, 1, b"x" * 32),
        ]
    )
    (flow,) = table.top()
    assert flow.retransmits == 0
    assert flow.rtt_ns == 5 * MS


def test_both_families_fragments_and_what_is_no_ip() -> None:
    frames = [
        ether(0x86DD, ip6(17, udp(1000, 53, b"q", source="2001:db8::1", target="2001:db8::2"))),
        ether(0x800, ip4(17, udp(5, 6, b"x" * 20))),
        ether(0x800, ip4(17, b"x" * 20, flags=100)),
        ether(0x806, bytes(28)),
        ether(0x800, ip4(6, tcp(1, 2, S)), tags=((0x8100, 5),)),
        b"\0",
    ]
    table = count([Packet(0, len(frame), frame) for frame in frames])
    assert sorted(str(flow) for flow in table.flows.values()) == [
        "tcp 10.0.0.1.1 > 10.0.0.2.2",
        "udp 10.0.0.1 > 10.0.0.2",
        "udp 10.0.0.1.5 > 10.0.0.2.6",
        "udp 2001:db8::1.1000 > 2001:db8::2.53",
    ]
    assert (table.packets, table.other) == (6, 2)
