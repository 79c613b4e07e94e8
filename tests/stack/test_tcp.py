"""TCP from end to end over wires good and bad."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from netkat.stack import Endpoint
from netkat.wire.memory import PERFECT, Impairment
from tests.stack.network import (
    Network,
    eventually,
    opened,
    receive,
    receive_to_end,
    retry,
    send_all,
)

WIRES = {
    "loss 1 %": Impairment(loss=0.01),
    "loss 5 %": Impairment(loss=0.05),
    "reordering": Impairment(reordering=0.05),
    "duplicates": Impairment(duplication=0.05),
    "delay": Impairment(delay=0.02),
    "all of it": Impairment(loss=0.01, duplication=0.01, reordering=0.02, delay=0.005, seed=7),
}


def digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def exchange(client: Endpoint, server: Endpoint, size: int) -> None:
    """Random bytes both ways at once, each side ending its own, compared by hash."""
    up, down = os.urandom(size), os.urandom(size)

    def both(endpoint: Endpoint, data: bytes) -> str:
        def write() -> None:
            send_all(endpoint, data)
            endpoint.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        got = digest(receive_to_end(endpoint))
        writer.join()
        return got

    with ThreadPoolExecutor(2) as pool:
        at_server = pool.submit(both, server, down)
        at_client = pool.submit(both, client, up)
        assert at_server.result() == digest(up)
        assert at_client.result() == digest(down)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("gso", [False, True], ids=["segments", "super-frames"])
@pytest.mark.parametrize("ethernet", [True, False], ids=["ethernet", "bare"])
def test_bytes_arrive_as_they_were(version: int, gso: bool, ethernet: bool) -> None:
    with Network(gso=gso, ethernet=ethernet) as network:
        client, server = network.pair(version)
        with client, server:
            exchange(client, server, 8 << 20)
        if gso:
            statistics = network.a.stack.statistics()
            assert statistics.bytes_out > 2 * 1500 * statistics.frames_out, "no super-frames"


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("version", [4, 6])
def test_bytes_arrive_over_a_bad_wire(name: str, version: int) -> None:
    with Network(impairment=WIRES[name]) as network:
        client, server = network.pair(version)
        with client, server:
            exchange(client, server, 300_000)
            if WIRES[name].loss >= 0.01:
                both = network.a.stack.statistics(), network.b.stack.statistics()
                assert sum(one.retransmits for one in both) > 0, "the wire lost nothing"


@pytest.mark.parametrize("mtu", [1280, 1400, 9000])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("gso", [False, True], ids=["segments", "super-frames"])
def test_segments_fit_the_link(mtu: int, version: int, gso: bool) -> None:
    with Network(mtu, gso=gso) as network:
        client, server = network.pair(version)
        with client, server:
            exchange(client, server, 1 << 20)
            headers = 40 if version == 4 else 60
            assert client.info().mss == server.info().mss == mtu - headers - 12
        assert network.a.wire.statistics().dropped == 0
        assert network.b.wire.statistics().dropped == 0


def test_no_more_is_taken_than_the_reader_has_room_for() -> None:
    with Network() as network:
        client, server = network.pair()
        with client, server:
            data = os.urandom(24 << 20)
            writer = threading.Thread(target=send_all, args=(client, data))
            writer.start()
            # Window shut, then the writer's own buffer full: everything stands still.
            assert eventually(lambda: 0 < client.info().unacked == still(client), 15)
            unread = server.info().unread
            assert unread < 20 << 20, "a reader that does not read must not be drowned"
            frames = network.a.stack.statistics().frames_out
            got = bytearray()
            while len(got) < len(data):
                got += receive(server)
            writer.join()
            assert digest(got) == digest(data)
            assert network.a.stack.statistics().frames_out > frames


def still(endpoint: Endpoint) -> int:
    """Bytes under way, when two looks 0.3 s apart find the same; else -1."""
    first = endpoint.info().unacked
    eventually(lambda: endpoint.info().unacked != first, 0.3)
    return first if endpoint.info().unacked == first else -1


@pytest.mark.parametrize("version", [4, 6])
def test_each_side_ends_by_itself(version: int) -> None:
    with Network() as network:
        client, server = network.pair(version)
        with client, server:
            send_all(client, b"question")
            client.shutdown(socket.SHUT_WR)
            assert receive_to_end(server) == b"question"
            assert eventually(lambda: client.info().fin_acked)
            assert server.info().fin_received and not client.info().fin_received
            with pytest.raises(BrokenPipeError):
                client.send(b"more")
            send_all(server, b"answer" * 100_000)
            assert not client.over() and not server.over()
            server.shutdown(socket.SHUT_WR)
            assert receive_to_end(client) == b"answer" * 100_000
            assert eventually(server.over) and eventually(client.over)
            assert receive(client) == b"", "the end stays the end"


@pytest.mark.parametrize("version", [4, 6])
def test_both_ends_know_the_handshake_and_the_peers_ttl(version: int) -> None:
    with Network() as network:
        client, server = network.pair(version)
        with client, server:
            for end in (client, server):
                assert 0 < end.info().handshake < 10_000_000
                assert end.info().peer_ttl == 64


def test_unacknowledged_bytes_are_counted_to_the_last() -> None:
    with Network() as network:
        client, server = network.pair()
        with client, server:
            assert client.info().unacked == 0
            network.a.wire.impair(Impairment(loss=1.0))
            assert client.send(b"x" * 100_000) == 100_000
            client.shutdown(socket.SHUT_WR)
            assert client.info().unacked == 100_000
            assert not client.info().fin_acked
            network.a.wire.impair(PERFECT)
            assert receive_to_end(server) == b"x" * 100_000
            assert eventually(lambda: client.info().unacked == 0 and client.info().fin_acked)


def test_what_was_written_is_delivered_after_close() -> None:
    data = os.urandom(3 << 20)
    with Network(impairment=Impairment(loss=0.01, delay=0.002)) as network:
        client, server = network.pair()
        with server:
            send_all(client, data)
            client.close()
            assert digest(receive_to_end(server)) == digest(data)


def test_two_hundred_connections_at_once() -> None:
    count = 200
    with Network() as network, network.listen(backlog=count) as listener:
        clients = [
            network.a.stack.connect(network.flow(local_port=30000 + i)) for i in range(count)
        ]
        for client in clients:
            opened(client)
        servers = [retry(listener.accept, listener.readable_fd()) for _ in range(count)]
        assert {port for _, _, port in servers} == set(range(30000, 30000 + count))
        assert network.b.stack.statistics().endpoints == count + 1
        for i, client in enumerate(clients):
            send_all(client, b"%d" % i * 1000)
            client.shutdown(socket.SHUT_WR)
        for server, _, port in servers:
            assert receive_to_end(server) == b"%d" % (port - 30000) * 1000
            server.close()
        for client in clients:
            assert receive(client) == b""
            client.close()


def polled(descriptor: int, seconds: float = 0.0) -> set[str]:
    """What a program that selects on the descriptor is told."""
    got = select.select([descriptor], [descriptor], [], seconds)
    return {name for name, ready in zip(("read", "write"), got, strict=False) if ready}


def fill(endpoint: Endpoint, descriptor: int) -> int:
    """Send until nothing moves any more; how many bytes."""
    sent = 0
    while select.select([], [descriptor], [], 0.5)[1]:
        with contextlib.suppress(BlockingIOError):
            sent += endpoint.send(bytes(1 << 20))
    return sent


def test_one_descriptor_for_both_directions() -> None:
    """As a socket's: neither, either, both, and again."""
    with Network() as network:
        client, server = network.pair()
        with client, server:
            descriptor = client.readiness_fd()
            assert polled(descriptor) == {"write"}
            sent = fill(client, descriptor)
            assert polled(descriptor) == set()
            send_all(server, b"come in")
            assert polled(descriptor, 20) == {"read"}
            while sent:
                sent -= len(receive(server))
            assert select.select([], [descriptor], [], 20)[1]
            assert polled(descriptor) == {"read", "write"}
            assert receive(client) == b"come in"
            assert polled(descriptor) == {"write"}
            assert (client.readiness_fd(), client.readable_fd() > 0) == (descriptor, True)
            server.shutdown(socket.SHUT_WR)
            assert select.select([descriptor], [], [], 20)[0]
            assert receive(client) == b""
            assert "read" in polled(descriptor), "the end of the stream stays readable"


def test_one_descriptor_of_a_listener_and_of_a_connect_under_way() -> None:
    with Network() as network, network.listen() as listener:
        waiting = listener.readiness_fd()
        assert polled(waiting) == set()
        client = network.a.stack.connect(network.flow())
        with client:
            assert polled(client.readiness_fd(), 20) == {"write"}
            client.connect_result()
            assert polled(waiting, 20) == {"read"}
            listener.accept()[0].close()
            assert polled(waiting) == set()


def test_closing_wakes_who_polls_both() -> None:
    with Network() as network:
        client, server = network.pair()
        with server:
            descriptor = client.readiness_fd()
            woken = threading.Event()

            def wait() -> None:
                with contextlib.suppress(OSError):  # closed before it could wait
                    select.select([descriptor], [], [])
                woken.set()

            waiter = threading.Thread(target=wait)
            waiter.start()
            client.close()
            assert woken.wait(20)
            waiter.join()
