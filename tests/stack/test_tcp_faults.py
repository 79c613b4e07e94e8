"""TCP connections that do not end well, each told by its own code."""

from __future__ import annotations

import dataclasses
import socket
import time
from ipaddress import ip_address

import pytest

from netkat.errors import NetkatError
from netkat.stack import Code, StackError
from netkat.wire.memory import Impairment
from tests.stack.network import (
    Network,
    eventually,
    readable,
    receive,
    receive_to_end,
    retry,
    send_all,
)


def code(caught: pytest.ExceptionInfo[StackError]) -> Code:
    return caught.value.code


@pytest.mark.parametrize("version", [4, 6])
def test_data_before_a_reset_is_read_first(version: int) -> None:
    with Network() as network:
        client, server = network.pair(version)
        with client, server:
            send_all(server, b"last words")
            assert eventually(lambda: client.info().unread == 10)
            server.abort()
            assert eventually(client.over)
            assert receive(client) == b"last words"
            with pytest.raises(StackError) as caught:
                receive(client)
            assert code(caught) is Code.RESET
            with pytest.raises(StackError) as caught:
                client.send(b"x")
            assert code(caught) is Code.RESET
            seen = network.a.stack.observe(network.flow(version=version))
            # One more where an acknowledgement of ours has crossed it.
            assert seen.resets in (1, 2) and seen.reset_ttl == 64


def test_reset_in_the_middle_of_a_transfer() -> None:
    with Network() as network:
        client, server = network.pair()
        with client, server:
            send_all(client, b"x" * (4 << 20))
            assert len(receive(server)) > 0
            server.abort()
            with pytest.raises(StackError) as caught:
                send_all(client, b"x" * (64 << 20))
            assert code(caught) is Code.RESET


def test_closing_with_bytes_unread_resets() -> None:
    """RFC 2525, 2.17: the writer must not believe that they were read."""
    with Network() as network:
        client, server = network.pair()
        with client:
            send_all(client, b"unread")
            assert eventually(lambda: server.info().unread == 6)
            server.close()
            with pytest.raises(StackError) as caught:
                receive(client)
            assert code(caught) is Code.RESET


def test_own_abort_ends_both_sides() -> None:
    with Network() as network:
        client, server = network.pair()
        with client, server:
            client.abort()
            with pytest.raises(StackError) as caught:
                receive(server)
            assert code(caught) is Code.RESET


def test_end_in_order_is_not_reset_by_an_abort() -> None:
    with Network() as network:
        client, server = network.pair()
        with client, server:
            client.shutdown(socket.SHUT_WR)
            assert receive_to_end(server) == b""
            server.shutdown(socket.SHUT_WR)
            assert receive_to_end(client) == b""
            assert eventually(client.over) and eventually(server.over)
            client.abort()
            server.abort()
            assert network.b.stack.observe(network.flow()).resets == 0


@pytest.mark.parametrize("version", [4, 6])
def test_stack_answers_nothing_where_nobody_listens(version: int) -> None:
    """The host's kernel owns the address: a RST is its to send, so ours would be one too many."""
    with Network() as network:
        client = network.a.stack.connect(network.flow(version=version))
        with client:
            assert eventually(lambda: network.b.stack.statistics().frames_in >= 2, 4)
            with pytest.raises(BlockingIOError):
                client.connect_result()
            assert network.b.stack.statistics().frames_out == 0
            assert network.a.stack.observe(network.flow(version=version)).syns_sent == 2


def test_closed_listener_resets_what_nobody_accepted() -> None:
    with Network() as network:
        listener = network.listen()
        client = network.connect(network.flow())
        with client:
            assert readable(listener.readable_fd())
            listener.close()
            with pytest.raises(StackError) as caught:
                receive(client)
            assert code(caught) is Code.RESET


def test_address_in_use() -> None:
    with Network() as network, network.listen(), pytest.raises(StackError) as caught:
        network.listen()
    assert code(caught) is Code.IN_USE


def test_no_route() -> None:
    with Network() as network:
        flow = network.flow()
        with pytest.raises(StackError) as caught:
            network.a.stack.connect(dataclasses.replace(flow, remote=ip_address("203.0.113.9")))
        assert code(caught) is Code.UNREACHABLE


def test_syn_is_sent_again_after_one_second_and_three() -> None:
    with Network(impairment=Impairment(loss=1.0)) as network:
        client = network.a.stack.connect(network.flow())
        with client:
            began = time.monotonic()
            moments = []
            for wanted in (2, 3):
                while network.a.stack.observe(network.flow()).syns_sent < wanted:
                    time.sleep(0.005)
                moments.append(time.monotonic() - began)
            assert moments == pytest.approx([1.0, 3.0], abs=0.3)


def test_calls_that_make_no_sense_here() -> None:
    with Network() as network, network.listen() as listener:
        with pytest.raises((StackError, BlockingIOError)):
            listener.recv_into(bytearray(1))
        with pytest.raises(StackError):
            listener.send(b"x")
        client, server = network.pair(port=81)
        with client, server:
            with pytest.raises(StackError):
                client.accept()
            with pytest.raises(BufferError):
                client.recv_into(b"not to be written")
        with pytest.raises(NetkatError):
            retry(client.connect_result, -1)
