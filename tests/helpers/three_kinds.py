"""The same connection three times from one namespace: the kernel's, netkat's, its as_socket()."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import netkat
from tests.helpers.capture import Packet
from tests.helpers.netns import Pair
from tests.helpers.rules import nft, nft_chain, nft_table

CLOSE = 0.6
"""Seconds by which two events that should be simultaneous may differ: timers of both are coarse."""

KINDS = ("kernel", "netkat", "socket")


@contextmanager
def connections(pair: Pair, port: int) -> Iterator[dict[str, Any]]:
    """One of each kind from the host's namespace: the kernel's, netkat's, and its as_socket()."""
    target = (pair.peer.ipv4, port)
    with netkat.Stack(netns=pair.host.name) as stack:
        kernel = pair.host.call(lambda: socket.create_connection(target, 5))
        conn = stack.create_connection(target, 5)
        handed = stack.create_connection(target, 5).as_socket()
        with kernel, conn, handed:
            yield dict(zip(KINDS, (kernel, conn, handed), strict=True))


def ends(conn: Any, timeout: float = 20) -> tuple[float, type[BaseException]]:
    """When a read ends, and with what."""
    conn.settimeout(timeout)
    try:
        data = conn.recv(1)
    except OSError as error:
        return time.monotonic(), type(error)
    raise AssertionError(f"read {data!r}")


def all_end(conns: dict[str, Any], act: Callable[[], object]) -> dict[str, float]:
    """Seconds from the act until each connection has failed for lack of an answer."""
    found: dict[str, tuple[float, type[BaseException]]] = {}

    def wait(kind: str) -> None:
        found[kind] = ends(conns[kind])

    threads = [threading.Thread(target=wait, args=(kind,)) for kind in conns]
    began = time.monotonic()
    act()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(found) == set(conns)
    assert issubclass(found["kernel"][1], TimeoutError)
    assert issubclass(found["netkat"][1], TimeoutError)
    return {kind: when - began for kind, (when, _) in found.items()}


def silence(pair: Pair) -> None:
    """From now on the peer's kernel takes no TCP."""
    chain = nft_chain("input", "filter", "input", "0", "meta l4proto tcp drop")
    nft(pair.peer, nft_table("inet silent", chain))


def sent_by(packets: list[Packet], conn: Any) -> list[Packet]:
    """Those that came from the connection's port."""
    port = conn.getsockname()[1]
    return [packet for packet in packets if packet.source_port == port]
