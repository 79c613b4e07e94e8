"""A UDP port that chose its client: `netkat -lu`, at the level of connections."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from netkat.conn import UdpListener
from netkat.engine.bypass import Bypass
from netkat.flow import Protocol
from netkat.options import PathOptions
from tests.helpers.netns import Pair


def test_it_sends_to_that_client_and_ignores_others(pair: Pair) -> None:
    def client() -> socket.socket:
        opened = pair.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.settimeout(5)
        return opened

    with Bypass(PathOptions(netns=pair.host.name)) as bypass, client() as one, client() as other:
        claimed = bypass.claim_ports([ip_address(pair.host.ipv4)], 0, protocol=Protocol.UDP)
        bypass.load()
        (listener,) = (UdpListener(session) for session in claimed.receive())
        target = (pair.host.ipv4, claimed.port)
        one.sendto(b"first", target)
        listener.settimeout(5)
        with listener.lock(*listener.recvfrom()) as conn:
            conn.settimeout(5)
            buffer = bytearray(100)
            assert bytes(buffer[: conn.recv_into(buffer)]) == b"first"
            conn.send(b"answer")
            assert one.recv(100) == b"answer"
            # The second read could take what is there without asking whose it is.
            for number in (b"1", b"2"):
                other.sendto(b"from another", target)
                one.sendto(number, target)
                assert bytes(buffer[: conn.recv_into(buffer)]) == number
