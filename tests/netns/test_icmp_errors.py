"""Forged ICMP errors change nothing, as with a kernel socket in the same namespace."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from netkat import Stack
from netkat.errors import Refused
from tests.helpers import forged_icmp as icmp
from tests.helpers.capture import Capture, Packet, capture
from tests.helpers.netns import Pair, netns_pair
from tests.helpers.peers import peer
from tests.helpers.rules import nft, nft_chain, nft_table

VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
SENDERS = pytest.mark.parametrize("sender", ["kernel", "netkat"])
SIZE = 20_000
FULL = {4: 1448, 6: 1428}


class Connection:
    """An open connection of the host's, by the kernel or by netkat."""

    def __init__(self, undo: ExitStack, pair: Pair, version: int, port: int, sender: str) -> None:
        address = (pair.peer.address(version), port)
        self._netkat = sender == "netkat"
        self.conn: Any
        if self._netkat:
            stack = undo.enter_context(Stack(netns=pair.host.name))
            self.conn = undo.enter_context(stack.create_connection(address, timeout=5))
        else:
            connected = pair.host.call(lambda: socket.create_connection(address, timeout=5))
            self.conn = undo.enter_context(connected)
        self.port: int = self.conn.getsockname()[1]

    @property
    def mss(self) -> int:
        """The bytes of payload in a full segment."""
        if self._netkat:
            return int(self.conn._endpoint.info().mss)
        info = self.conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack_from("I", info, 16)[0])

    @property
    def icmp_errors(self) -> int:
        """How many were accepted; the kernel has no counter for a connection."""
        if not self._netkat:
            return 0
        session = self.conn._session
        return int(session.uplink.stack.observe(session.flow).icmp_errors)


@contextmanager
def in_flight(version: int, sender: str) -> Iterator[tuple[Pair, Connection, list[bytes]]]:
    """A connection whose last SIZE bytes are not acknowledged, and the packets with them.

    The peer's firewall drops them; afterwards it does not, and all arrives.
    """
    with (
        netns_pair("nki", offloads=False) as pair,
        peer(pair.peer, "tcp-sink") as server,
        ExitStack() as undo,
    ):
        made = Connection(undo, pair, version, server.port, sender)
        made.conn.sendall(b"first")
        drop(pair, server.port, "meta length > 200")
        with capture(pair.peer, expression=f"tcp and dst port {server.port}") as seen:
            made.conn.sendall(bytes(SIZE))
            packets = eventually(lambda: whole(seen, made.port))
            yield pair, made, packets
        pair.peer.run(["nft", "delete", "table", "inet", "drops"])
        made.conn.close()
        assert server.event("closed", timeout=20)["bytes"] == len(b"first") + SIZE


def drop(pair: Pair, port: int, which: str) -> None:
    """Have the peer's firewall drop segments to a port."""
    rule = f"tcp dport {port} {which} drop"
    nft(pair.peer, nft_table("inet drops", nft_chain("in", "filter", "input", "0", rule)))


def whole(seen: Capture, port: int) -> list[bytes]:
    """The IP packets with payload of the initial window."""
    packets = [p.frame[14:] for p in seen.so_far() if p.source_port == port]
    large = [p for p in packets if icmp.payload_of(p) > 200]
    return large if len(large) >= 8 else []


def eventually(ask: Callable[[], Any], seconds: float = 5) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)
    return found


def wrong_numbers(packets: list[bytes]) -> dict[str, int]:
    first = min(icmp.number_of(p) for p in packets)
    return {"random": first ^ 0x5A5A5A5A, "old": first - 1, "future": first + 1_000_000}


@VERSIONS
@SENDERS
@pytest.mark.parametrize("kind", ["PORT_UNREACHABLE", "TIME_EXCEEDED", "TOO_BIG"])
def test_errors_about_other_numbers_are_ignored(version: int, sender: str, kind: str) -> None:
    with in_flight(version, sender) as (pair, made, packets):
        host = pair.host.address(version)
        for number in wrong_numbers(packets).values():
            forged = icmp.with_number(packets[0], number)
            kinds: dict[int, tuple[int, int]] = getattr(icmp, kind)
            icmp.send(pair.peer, host, kinds[version], forged, mtu=1300)
        # One that is accepted comes after all of them.
        icmp.send(pair.peer, host, icmp.TIME_EXCEEDED[version], packets[-1])
        if sender == "netkat":
            eventually(lambda: made.icmp_errors)
            assert made.icmp_errors == 1
        assert made.mss == FULL[version]


@VERSIONS
@SENDERS
def test_hard_errors_do_not_end_an_open_connection(version: int, sender: str) -> None:
    """The connection goes on, and in_flight() sees that all arrives (RFC 5927, 5.2)."""
    with in_flight(version, sender) as (pair, made, packets):
        for packet in packets[:3]:
            kind = icmp.PORT_UNREACHABLE[version]
            icmp.send(pair.peer, pair.host.address(version), kind, packet)
        if sender == "netkat":
            eventually(lambda: made.icmp_errors == 3)


@SENDERS
@pytest.mark.parametrize(
    ("version", "reported", "mss"),
    [(4, 1300, 1248), (4, 68, 500), (4, 0, 500), (6, 1300, 1228), (6, 1280, 1208), (6, 68, 1428)],
)
def test_path_mtu_has_a_floor(version: int, sender: str, reported: int, mss: int) -> None:
    with in_flight(version, sender) as (pair, made, packets):
        host = pair.host.address(version)
        with capture(pair.peer) as seen:
            icmp.send(pair.peer, host, icmp.TOO_BIG[version], packets[0], mtu=reported)
            if mss == FULL[version]:
                icmp.send(pair.peer, host, icmp.TIME_EXCEEDED[version], packets[-1])
                eventually(lambda: sender == "kernel" or made.icmp_errors)
            else:
                eventually(lambda: made.mss == mss)
                eventually(lambda: sizes(seen.so_far(), made.port))
            assert made.mss == mss
        assert not [size for size in sizes(seen.packets, made.port) if size > mss]


def sizes(packets: list[Packet], port: int) -> list[int]:
    found = [p.frame[14:] for p in packets if p.source_port == port]
    return [size for size in map(icmp.payload_of, found) if size > 200]


@VERSIONS
@SENDERS
def test_only_an_error_about_the_syn_ends_a_connect(version: int, sender: str) -> None:
    with netns_pair("nki") as pair, ExitStack() as undo:
        drop(pair, 9, "")
        address, host = (pair.peer.address(version), 9), pair.host.address(version)
        with capture(pair.peer, expression="tcp and dst port 9") as seen:
            if sender == "netkat":
                stack = undo.enter_context(Stack(netns=pair.host.name))
                began = undo.enter_context(background(lambda: stack.create_connection(address, 5)))
            else:
                began = undo.enter_context(
                    background(lambda: pair.host.call(lambda: socket.create_connection(address, 5)))
                )
            syn = eventually(lambda: [p.frame[14:] for p in seen.so_far() if p.syn])[0]
            kind = icmp.PORT_UNREACHABLE[version]
            for number in wrong_numbers([syn]).values():
                icmp.send(pair.peer, host, kind, icmp.with_number(syn, number))
            time.sleep(0.2)
            assert not began.done()
            icmp.send(pair.peer, host, kind, syn)
            with pytest.raises((Refused, ConnectionRefusedError)):
                began.result(timeout=2)


@contextmanager
def background(call: Callable[[], Any]) -> Iterator[Any]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(call)


@VERSIONS
def test_datagram_errors_are_about_a_datagram_that_was_sent(version: int) -> None:
    """The kernel accepts them by their ports alone."""
    with (
        netns_pair("nki") as pair,
        peer(pair.peer, "udp-counter") as counter,
        Stack(netns=pair.host.name) as stack,
        stack.open_datagram((pair.peer.address(version), counter.port), timeout=1) as conn,
        capture(pair.peer, expression=f"udp and dst port {counter.port}") as seen,
    ):
        conn.send(b"a datagram")
        sent = eventually(lambda: [p.frame[14:] for p in seen.so_far()])[0]
        kind, host = icmp.PORT_UNREACHABLE[version], pair.host.address(version)
        for checksum in (0, 1, 0xFFFF, 0x1234):
            icmp.send(pair.peer, host, kind, icmp.with_udp_checksum(sent, checksum))
        with pytest.raises(TimeoutError):
            conn.recv(100)
        icmp.send(pair.peer, host, kind, sent)
        with pytest.raises((Refused, ConnectionRefusedError)):
            conn.recv(100)
