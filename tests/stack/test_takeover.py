"""What a flow is not taken over for: then nothing has changed. That one is, root alone can try."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from netkat.stack import Code, Endpoint, StackError, State, Takeover
from tests.stack.network import Network, eventually, receive_to_end

KEY = bytes(40)


@contextlib.contextmanager
def at_rest() -> Iterator[Endpoint]:
    """A connection that we have ended first."""
    with Network() as network:
        client, server = network.pair(4)
        with client, server:
            client.shutdown(socket.SHUT_WR)
            receive_to_end(server)
            server.shutdown(socket.SHUT_WR)
            eventually(lambda: client.state() is State.TIME_WAIT)
            yield client


@contextlib.contextmanager
def count(text: bytes) -> Iterator[int]:
    """Conntrack's count of entries."""
    descriptor = os.memfd_create("census")
    os.write(descriptor, text)
    yield descriptor
    os.close(descriptor)


def refused(client: Endpoint, terms: Takeover, *, free: bool = False) -> Code:
    with pytest.raises(StackError) as caught:
        client.take_over(terms, free=free)
    assert client.state() is State.TIME_WAIT
    return caught.value.code


def test_a_connection_in_use() -> None:
    with Network() as network:
        client, server = network.pair(4)
        terms = Takeover(KEY, guard=-1, news=os.eventfd(0), census=-1, max_segment=0)
        with client, server, pytest.raises(BlockingIOError):
            client.take_over(terms)
        os.close(terms.raw.news)


def test_the_way_may_be_another() -> None:
    news = os.eventfd(1)
    with at_rest() as client, count(b"0\n") as census:
        terms = Takeover(KEY, guard=-1, news=news, census=census, max_segment=0)
        assert refused(client, terms) is Code.UNREACHABLE
    os.close(news)


def test_conntrack_has_to_be_asked() -> None:
    news = os.eventfd(0)
    with at_rest() as client, count(b"12\n") as census:
        for known in (census, -1):
            terms = Takeover(KEY, guard=-1, news=news, census=known, max_segment=0)
            assert refused(client, terms) is Code.IN_USE
            assert refused(client, terms, free=True) is Code.INVALID, "the guard is next"
            assert refused(client, terms) is Code.IN_USE, "asked once, for one connection"
    os.close(news)


def test_the_guard_does_not_tell() -> None:
    news = os.eventfd(0)
    with at_rest() as client, count(b"0\n") as census:
        terms = Takeover(KEY, guard=-1, news=news, census=census, max_segment=0)
        assert refused(client, terms) is Code.INVALID
    os.close(news)
