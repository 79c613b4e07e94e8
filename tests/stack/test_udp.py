"""UDP: each datagram once, whole, and told when it cannot go."""

from __future__ import annotations

import hashlib
import os
import struct
import threading

import pytest

from netkat.flow import Flow, Protocol
from netkat.stack import Code, Endpoint, Option, StackError
from netkat.wire.memory import PERFECT, Impairment, memory_pair
from tests.stack.frames import UDP, Alone, from_peer, icmp, transport
from tests.stack.network import Host, Network, eventually, readable, receive, retry

LARGEST = {4: 65507, 6: 65527}


def datagrams(network: Network, version: int = 4) -> tuple[Endpoint, Endpoint]:
    """Connected to each other: a's port 40000 and b's port 80."""
    flow = network.flow(version=version, protocol=UDP)
    assert flow.remote is not None
    back = Flow(Protocol.UDP, flow.remote, flow.remote_port, flow.local, flow.local_port)
    return network.a.stack.connect(flow), network.b.stack.connect(back)


def send(endpoint: Endpoint, data: bytes) -> None:
    assert retry(lambda: endpoint.send(data), endpoint.writable_fd()) == len(data)


@pytest.mark.parametrize("version", [4, 6])
def test_each_datagram_arrives_exactly_once(version: int) -> None:
    count = 5000
    with Network() as network:
        client, server = datagrams(network, version)
        with client, server:

            def write(endpoint: Endpoint) -> None:
                for number in range(count):
                    send(endpoint, struct.pack("!I", number) * (1 + number % 350))

            writers = [threading.Thread(target=write, args=(one,)) for one in (client, server)]
            for writer in writers:
                writer.start()
            for reader in (server, client):
                got = [receive(reader, 65535) for _ in range(count)]
                numbers = [struct.unpack("!I", one[:4])[0] for one in got]
                assert sorted(numbers) == list(range(count))
                assert all(
                    len(one) == 4 * (1 + n % 350) for one, n in zip(got, numbers, strict=True)
                )
            for writer in writers:
                writer.join()
            assert network.a.stack.observe(network.flow(version=version, protocol=UDP)).syns_sent


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mtu", [1280, 1500, 9000])
def test_large_datagrams_travel_in_fragments(version: int, mtu: int) -> None:
    with Network(mtu, Impairment(reordering=0.1)) as network:
        client, server = datagrams(network, version)
        with client, server:
            for size in (60_000, LARGEST[version], 1, mtu):
                data = os.urandom(size)
                send(client, data)
                send(server, data[::-1])
                got = receive(server, 65535)
                assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
                assert receive(client, 65535) == data[::-1]
            seen = network.a.stack.observe(network.flow(version=version, protocol=UDP))
            assert seen.syns_sent == 4, "datagrams are counted, not fragments"


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_too_large_for_the_protocol(version: int) -> None:
    with Network() as network:
        client, server = datagrams(network, version)
        with client, server:
            with pytest.raises(StackError) as caught:
                client.send(bytes(LARGEST[version] + 1))
            assert caught.value.code is Code.MESSAGE_SIZE


def test_empty_and_cut_datagrams() -> None:
    with Network() as network:
        client, server = datagrams(network)
        with client, server:
            send(client, b"")
            assert receive(server) == b""
            send(client, b"0123456789")
            buffer = bytearray(4)
            count, length, address, port = retry(
                lambda: server.recv_from_into(buffer), server.readable_fd()
            )
            assert (count, length, bytes(buffer)) == (4, 10, b"0123")
            assert (address, port) == (network.a.addresses[4], 40000)


@pytest.mark.parametrize("version", [4, 6])
def test_without_a_peer_everybody_is_heard_and_answered(version: int) -> None:
    with Network() as network:
        local = Flow(Protocol.UDP, network.b.addresses[version], 53)
        with network.b.stack.bind(local) as server:
            for port in (1001, 1002):
                flow = network.flow(53, port, version, UDP)
                with network.a.stack.connect(flow) as client:
                    send(client, b"who am I?")
                    buffer = bytearray(100)
                    count, _, address, seen_port = retry(
                        lambda: server.recv_from_into(buffer),  # noqa: B023
                        server.readable_fd(),
                    )
                    assert (bytes(buffer[:count]), seen_port) == (b"who am I?", port)
                    server.send_to(b"%d" % seen_port, address, seen_port)
                    assert receive(client) == b"%d" % port
            with pytest.raises(StackError) as caught:
                server.send(b"to whom?")
            assert caught.value.code is Code.NOT_CONNECTED


@pytest.mark.parametrize("size", [100, 60_000])
def test_a_writer_waits_while_nobody_drains(size: int) -> None:
    one, other = memory_pair(1500, PERFECT)
    host = Host(1, one, 1500, gso=False, ethernet=False)
    try:
        remote = host.addresses[4] + 1
        host.stack.add_route(remote)
        with host.stack.connect(Flow(Protocol.UDP, host.addresses[4], 1, remote, 2)) as client:
            with pytest.raises(BlockingIOError):
                sum(client.send(bytes(size)) for _ in range(100_000))
            queued = host.stack.statistics().queued
            assert 0 < queued < 2000, "the queue must stay short"
            assert not readable(client.writable_fd(), 0.05)
            host.drain()
            assert readable(client.writable_fd(), 1)
            assert client.send(bytes(size)) == size
            assert host.stack.statistics().queue_full == 0
    finally:
        host.close()
        other.close()


@pytest.mark.parametrize("version", [4, 6])
def test_icmp_errors_are_told_once_and_do_not_end_it(version: int) -> None:
    told = {(3, 3): Code.REFUSED, (3, 1): Code.UNREACHABLE, (11, 0): Code.UNREACHABLE}
    if version == 6:
        told = {(1, 4): Code.REFUSED, (1, 3): Code.UNREACHABLE, (3, 0): Code.UNREACHABLE}
    with Alone() as alone:
        flow = alone.flow(version, UDP)
        router = alone.silent[version]
        with alone.stack.connect(flow) as client:
            for number, ((kind, sub), wanted) in enumerate(told.items(), 1):
                send(client, b"anybody there?")
                alone.put(icmp(router, flow.local, kind, sub, alone.sent()[14:]))
                assert readable(client.readable_fd())
                with pytest.raises(StackError) as caught:
                    client.recv_into(bytearray(10))
                assert caught.value.code is wanted
                with pytest.raises(BlockingIOError):
                    client.recv_into(bytearray(10))
                assert not readable(client.readable_fd(), 0)
                seen = alone.stack.observe(flow)
                assert (seen.icmp_errors, seen.icmp_type, seen.icmp_code) == (number, kind, sub)
                assert (seen.icmp_sender, seen.icmp_ttl) == (router, 61)
                assert seen.icmp_version == version


@pytest.mark.parametrize("version", [4, 6])
def test_checksums_are_verified_where_nobody_vouches(version: int) -> None:
    with Alone() as alone:
        flow = alone.flow(version, UDP)
        assert flow.remote is not None
        raw = struct.pack("!HHHH", 80, 40000, 8 + 4, 0) + b"data"
        good = transport(flow.remote, flow.local, UDP, raw)
        bad = good[:6] + b"\x12\x34" + good[8:]
        with alone.stack.connect(flow) as client:
            alone.put(from_peer(flow, bad, protocol=UDP))
            assert alone.stack.statistics().checksum_errors == 1
            with pytest.raises(BlockingIOError):
                client.recv_into(bytearray(10))
            alone.put(from_peer(flow, good, protocol=UDP))
            assert receive(client) == b"data"
            # A packet that never was on a wire has half a checksum; the kernel vouches.
            alone.put(from_peer(flow, bad, protocol=UDP), vnet=b"\x01" + bytes(9))
            assert receive(client) == b"data"
            alone.put(from_peer(flow, bad, protocol=UDP), vnet=b"\x02" + bytes(9))
            assert receive(client) == b"data"


def test_segments_with_too_low_a_ttl_are_not_seen() -> None:
    with Alone() as alone:
        flow = alone.flow(4, UDP)
        assert flow.remote is not None
        raw = struct.pack("!HHHH", 80, 40000, 8 + 4, 0) + b"data"
        datagram = transport(flow.remote, flow.local, UDP, raw)
        with alone.stack.connect(flow) as client:
            client.set_option(Option.MIN_TTL, 255)
            alone.put(from_peer(flow, datagram, protocol=UDP, ttl=254))
            assert not eventually(lambda: client.info().unread > 0, 0.1)
            alone.put(from_peer(flow, datagram, protocol=UDP, ttl=255))
            assert receive(client) == b"data"
