"""A connection as a socketpair: bytes, both ends of the stream, resets and who waits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from netkat.stack import Code, Endpoint, StackError, State
from tests.stack.network import Network, eventually, receive, receive_to_end, send_all


def bridged(endpoint: Endpoint) -> socket.socket:
    """The program's end."""
    mine, stacks = socket.socketpair()
    mine.send(b"\0")
    endpoint.bridge(stacks.detach())
    mine.settimeout(20)
    return mine


@contextlib.contextmanager
def ends() -> Iterator[tuple[socket.socket, Endpoint, Endpoint]]:
    """A socket, the endpoint that it is bridged to, and the endpoint at the other side."""
    with Network() as network:
        client, server = network.pair()
        with client, server, bridged(client) as sock:
            yield sock, client, server


def test_bytes_both_ways_at_once_and_to_both_ends() -> None:
    size = 4 << 20
    up, down = os.urandom(size), os.urandom(size)
    with ends() as (sock, client, server):

        def program() -> None:
            sock.sendall(up)
            sock.shutdown(socket.SHUT_WR)

        def far() -> None:
            send_all(server, down)
            server.shutdown(socket.SHUT_WR)

        writers = [threading.Thread(target=program), threading.Thread(target=far)]
        came: list[bytes] = []
        reader = threading.Thread(target=lambda: came.append(receive_to_end(server)))
        for thread in (*writers, reader):
            thread.start()
        with sock.makefile("rb") as stream:
            got = stream.read()
        for thread in (*writers, reader):
            thread.join(20)
        assert hashlib.sha256(got).digest() == hashlib.sha256(down).digest()
        assert hashlib.sha256(came[0]).digest() == hashlib.sha256(up).digest()
        assert eventually(lambda: not client.bridged())
        assert sock.recv(1) == b"", "the end stays the end, and is no reset"


def test_the_other_direction_lives_on_after_each_end() -> None:
    with ends() as (sock, _, server):
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        assert receive_to_end(server) == b"question"
        send_all(server, b"late answer")
        assert sock.recv(100) == b"late answer"
    with ends() as (sock, _, server):
        server.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
        sock.sendall(b"still here")
        assert receive(server) == b"still here"


@pytest.mark.parametrize("before", [b"", b"bytes that came before it"], ids=["idle", "after bytes"])
@pytest.mark.parametrize("sent", [0, 1, 100_000])
def test_a_reset_is_told_after_what_came_before(before: bytes, sent: int) -> None:
    with ends() as (sock, client, server):
        sock.sendall(bytes(sent))
        if sent:
            assert eventually(lambda: client.info().unacked == 0 and server.info().unread == sent)
        if before:
            send_all(server, before)
            assert eventually(lambda: server.info().unacked == 0)
            assert eventually(lambda: client.info().unread == 0)
        server.abort()
        if before:
            assert sock.recv(100) == before
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
        assert eventually(lambda: not client.bridged())


def test_closing_ends_the_stream() -> None:
    with ends() as (sock, client, server):
        sock.sendall(b"last words")
        sock.close()
        assert receive_to_end(server) == b"last words"
        assert eventually(lambda: not client.bridged())


def test_closing_with_bytes_unread_is_a_reset() -> None:
    """RFC 2525, 2.17: the peer must not believe that they were read."""
    with ends() as (sock, _, server):
        send_all(server, b"never read")
        assert select.select([sock], [], [], 20)[0]
        sock.close()
        with pytest.raises(StackError) as reset:
            receive(server)
        assert reset.value.code is Code.RESET


@pytest.mark.parametrize("place", ["with the program", "in the stack"])
def test_last_words_come_before_the_reset_of_what_was_unread(place: str) -> None:
    """TLS: an alert, and a close while the peer's next record is there already."""
    with Network() as network, contextlib.ExitStack() as held:
        client, server = map(held.enter_context, network.pair())
        mine, stacks = socket.socketpair()
        mine.send(b"\0last words")
        if place == "in the stack":
            send_all(server, b"never read")
            assert eventually(lambda: client.info().unread == 10)
        else:
            stacks.send(b"never read")
        # Both are there before anybody looks: which one is seen first is not left to chance.
        mine.close()
        client.bridge(stacks.detach())
        assert receive(server) == b"last words"
        assert eventually(server.over)


def test_urgent_data_comes_with_the_rest() -> None:
    with ends() as (sock, client, server):
        sock.sendall(b"before ")
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b" after")
        sock.close()
        assert receive_to_end(server) == b"before ! after"
        assert eventually(lambda: not client.bridged())


def test_what_comes_after_closing_is_answered_by_a_reset() -> None:
    with ends() as (sock, client, server):
        sock.close()
        assert receive_to_end(server) == b""
        assert eventually(lambda: not client.bridged())
        client.close()
        send_all(server, b"to nobody")
        # In CLOSE-WAIT a RST is no error, but the end (RFC 9293, 3.10.7.4).
        assert eventually(lambda: server.info().state is State.CLOSED)
        assert server.info().unacked > 0


def test_after_the_read_side_was_shut_what_comes_is_thrown_away() -> None:
    with ends() as (sock, _, server):
        sock.shutdown(socket.SHUT_RD)
        send_all(server, bytes(1 << 20))
        assert eventually(lambda: server.info().unacked == 0)
        sock.sendall(b"deaf, not mute")
        assert receive(server) == b"deaf, not mute"


def test_a_peer_that_does_not_read_holds_the_program_up() -> None:
    """Not a byte is lost, and the socket is not writable meanwhile."""
    with ends() as (sock, _, server):
        sock.setblocking(False)
        block, sent = bytes(1 << 18), 0
        while select.select([], [sock], [], 0.5)[1]:
            sent += sock.send(block)
        got = 0
        while got < sent:
            got += len(receive(server))
        assert select.select([], [sock], [], 20)[1]


@pytest.mark.parametrize("end", ["abort", "close"])
def test_ending_the_endpoint_resets_the_program(end: str) -> None:
    with ends() as (sock, client, _):
        getattr(client, end)()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_what_is_no_open_connection_is_refused() -> None:
    with Network() as network, network.listen() as listener:
        mine, stacks = socket.socketpair()
        with mine, stacks, pytest.raises(StackError) as refused:
            listener.bridge(stacks.fileno())
        assert refused.value.code is Code.INVALID
    with ends() as (_, client, _server):
        mine, stacks = socket.socketpair()
        with mine, stacks, pytest.raises(StackError):
            client.bridge(stacks.fileno())


def test_the_stack_tells_when_a_bridge_has_ended() -> None:
    with Network() as network:
        client, server = network.pair()
        with client, server:
            bridged(client).close()
            assert select.select([network.a.stack.bridges_fd], [], [], 20)[0]
            assert not client.bridged()
