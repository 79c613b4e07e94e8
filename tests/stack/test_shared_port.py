"""Many endpoints on one local port, each with a peer port of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netkat.flow import Flow, Protocol
from netkat.stack import Code, Endpoint, Option, StackError
from tests.stack.network import Network, eventually, opened, receive, retry, send_all


def flows(network: Network, protocol: Protocol, version: int, count: int = 40) -> list[Flow]:
    first = network.flow(version=version, protocol=protocol)
    return [replace(first, remote_port=1000 + number) for number in range(count)]


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_each_has_its_own_peer(version: int) -> None:
    with Network() as network:
        network.a.stack.set_option(Option.SHARE_PORT, 1)
        ours = flows(network, Protocol.TCP, version)
        listeners = [network.listen(flow.remote_port, version) for flow in ours]
        endpoints = [network.a.stack.connect(flow) for flow in ours]
        for number, (endpoint, listener) in enumerate(zip(endpoints, listeners, strict=True)):
            opened(endpoint)
            client, _, port = retry(listener.accept, listener.readable_fd())
            assert port == 40000
            send_all(endpoint, b"to %d" % number)
            assert receive(client) == b"to %d" % number
            client.close()
        for each in (*endpoints, *listeners):
            each.close()
        # The port is free again, for one who does not share.
        network.a.stack.set_option(Option.SHARE_PORT, 0)
        assert eventually(lambda: can_connect(network, ours[0]))


def send(endpoint: Endpoint, data: bytes) -> None:
    assert retry(lambda: endpoint.send(data), endpoint.writable_fd()) == len(data)


def can_connect(network: Network, flow: Flow) -> bool:
    try:
        network.a.stack.connect(flow).close()
    except StackError as error:
        if error.code is Code.IN_USE:
            return False
        raise
    return True


@pytest.mark.parametrize("version", [4, 6])
def test_udp_each_hears_its_own_peer(version: int) -> None:
    with Network() as network:
        network.a.stack.set_option(Option.SHARE_PORT, 1)
        ours = flows(network, Protocol.UDP, version, 8)
        endpoints = [network.a.stack.connect(flow) for flow in ours]
        for flow, endpoint in zip(ours, endpoints, strict=True):
            assert flow.remote is not None
            back = Flow(Protocol.UDP, flow.remote, flow.remote_port, flow.local, flow.local_port)
            mark = b"%d" % flow.remote_port
            with network.b.stack.connect(back) as peer:
                send(peer, b"x")
                send(endpoint, mark)
                assert receive(peer) == mark
                assert receive(endpoint) == b"x"
        for endpoint in endpoints:
            endpoint.close()


def test_without_it_a_port_is_ones_own() -> None:
    with Network() as network:
        first, second = flows(network, Protocol.TCP, 4, 2)
        with network.a.stack.connect(first), pytest.raises(StackError) as caught:
            network.a.stack.connect(second)
        assert caught.value.code is Code.IN_USE
