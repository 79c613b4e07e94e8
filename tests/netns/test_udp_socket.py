"""Datagrams without a peer: to anybody, by whichever interface leads there."""

from __future__ import annotations

import errno
import select
import socket
import threading
import time

import pytest

import netkat
from netkat.errors import BadArgument, NextHopSilent, NoRoute, PortTaken, TimedOut
from tests.helpers.netns import Pair, join, wait_usable
from tests.helpers.peers import peer
from tests.helpers.waiting import wait_until
from tests.helpers.wires import udp_socket


def test_answers_come_from_whoever_was_asked(pair: Pair) -> None:
    with (
        peer(pair.peer, "udp-echo") as one,
        peer(pair.peer, "udp-echo") as other,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram(None, timeout=5) as sock,
    ):
        for server in (one, other):
            for version in (4, 6):
                address = pair.peer.address(version)
                assert sock.sendto(b"hello", (address, server.port)) == 5
                assert select.select([sock], [], [], 5)[0]
                data, sender = sock.recvfrom()
                assert (data, sender[:2]) == (b"hello", (address, server.port))
        assert select.select([sock], [], [], 0)[0] == []
        asked = {tuple(server.event("datagram")["peer"]) for server in (one, other)}
        assert asked == {(pair.host.ipv4, sock.getsockname()[1])}


def test_each_interface_is_opened_when_it_is_needed(pair: Pair) -> None:
    join(pair.host, pair.peer, a_name="eth1", b_name="eth1")
    for side, number in ((pair.host, 1), (pair.peer, 2)):
        side.ip(f"addr add 10.88.0.{number}/24 dev eth1", "link set eth1 up")
    for side in (pair.host, pair.peer):
        wait_usable(side, "eth1")
    with (
        peer(pair.peer, "udp-echo", host="0.0.0.0") as server,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram(None, timeout=5) as sock,
    ):
        with pytest.raises(OSError, match="nothing was sent yet"):
            sock.recvfrom()
        sock.sendto(b"by eth0", (pair.peer.ipv4, server.port))
        assert sock.recvfrom()[0] == b"by eth0"
        sock.sendto(b"by eth1", ("10.88.0.2", server.port))
        assert sock.recvfrom() == (b"by eth1", ("10.88.0.2", server.port))
        sources = [server.event("datagram")["peer"] for _ in range(2)]
        assert [address for address, _ in sources] == [pair.host.ipv4, "10.88.0.1"]
        assert sources[0][1] == sources[1][1], "one local port"


def test_a_source_address_receives_from_the_start(pair: Pair) -> None:
    with (
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram(None, 5, (pair.host.ipv4, 5353)) as sock,
        udp_socket(pair.peer, pair.peer.ipv4) as client,
    ):
        assert sock.getsockname() == (pair.host.ipv4, 5353)
        client.sendto(b"unasked", (pair.host.ipv4, 5353))
        data, sender = sock.recvfrom()
        assert (data, sender) == (b"unasked", client.getsockname())
        sock.sendto(b"answer", (sender[0], sender[1]))
        assert client.recvfrom(100) == (b"answer", (pair.host.ipv4, 5353))
        with pytest.raises(BadArgument, match="cannot be reached from"):
            sock.sendto(b"", (pair.peer.ipv6, 1))
        with pytest.raises(PortTaken):
            stack.open_datagram(None, 5, (pair.host.ipv4, 5353))


def test_its_errors_and_its_end(pair: Pair) -> None:
    with netkat.Stack(netns=pair.host.name) as stack:
        sock = stack.open_datagram(None, timeout=0.01)
        assert "no interface yet" in repr(sock)
        with pytest.raises(NoRoute):
            sock.sendto(b"", ("192.0.2.1", 1))
        with pytest.raises(socket.gaierror):
            sock.sendto(b"", ("no-such-name.invalid", 1))
        with pytest.raises(OSError, match="nothing was sent"):
            sock.getsockname()
        with pytest.raises(OSError, match="too long"):
            sock.sendto(bytes(65536), (pair.peer.ipv4, 9))
        with pytest.raises(TimedOut):
            sock.recvfrom()
        sock.settimeout(10)
        sock.sendto(b"to nobody", ("10.99.0.77", 9))
        with pytest.raises(NextHopSilent, match="eth0"):
            sock.recvfrom()
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recvfrom()
        sock.settimeout(None)
        outcome: list[int | None] = []

        def wait() -> None:
            try:
                sock.recvfrom()
            except OSError as error:
                outcome.append(error.errno)

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.05)  # most often it waits by now; closing is right before that, too
        sock.close()
        sock.close()
        waiter.join(10)
        assert outcome == [errno.EBADF]
        assert sock.fileno() == -1
        assert "closed" in repr(sock)


def test_one_that_is_forgotten_says_so(pair: Pair) -> None:
    with netkat.Stack(netns=pair.host.name) as stack:
        sock = stack.open_datagram(None)
        with pytest.warns(ResourceWarning, match="unclosed <netkat.UdpSocket") as warned:  # noqa: PT031
            del sock
            wait_until(lambda: len(warned) > 0)


def say_goodbye(stack: netkat.Stack, to: tuple[str, int], connected: bool) -> None:
    """One datagram, and closed in the same breath."""
    if connected:
        with stack.open_datagram(to) as conn:
            conn.send(b"goodbye")
    else:
        with stack.open_datagram(None) as sock:
            sock.sendto(b"goodbye", to)


@pytest.mark.parametrize("connected", [True, False])
def test_what_was_sent_before_close_leaves_when_the_next_hop_answers(
    pair: Pair, connected: bool
) -> None:
    ignore = "net.ipv4.conf.eth0.arp_ignore"
    with (
        udp_socket(pair.peer, pair.peer.ipv4) as server,
        netkat.Stack(netns=pair.host.name) as stack,
    ):
        pair.peer.sysctl(ignore, 8)  # answers nobody
        say_goodbye(stack, server.getsockname(), connected)
        pair.peer.sysctl(ignore, 0)
        server.settimeout(20)
        assert server.recv(10) == b"goodbye"


@pytest.mark.parametrize("connected", [True, False])
def test_what_was_sent_before_the_stack_closes_leaves(pair: Pair, connected: bool) -> None:
    with udp_socket(pair.peer, pair.peer.ipv6) as server:
        with netkat.Stack(netns=pair.host.name) as stack:
            say_goodbye(stack, server.getsockname()[:2], connected)
        assert server.recv(10) == b"goodbye"
