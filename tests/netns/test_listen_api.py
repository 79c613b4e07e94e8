"""Listening from a program: real clients, what the host keeps, and what is left behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

import netkat
from netkat.errors import BadArgument, NoRoute, OwnAddress, PortTaken
from netkat.host.listen_addresses import list_listen_addresses
from tests.helpers.netns import Pair

PORT = 7100
IPVERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def dial(pair: Pair, version: int, port: int = PORT) -> socket.socket:
    """A kernel client on the peer's side."""
    host = pair.host.address(version)
    return pair.peer.call(lambda: socket.create_connection((host, port), timeout=5))


def inside(pair: Pair, function: Callable[[netkat.Stack], Any], **options: Any) -> Any:
    """Call a function with a stack of the host's side."""

    def run() -> Any:
        with netkat.Stack(**options) as stack:
            return function(stack)

    return pair.host.call(run)


@IPVERSIONS
@pytest.mark.parametrize("guard", ["auto", "clsact", "cbpf", "socket"])
def test_a_client_is_served_on_every_step(pair: Pair, version: int, guard: str) -> None:
    def serve(stack: netkat.Stack) -> None:
        host = pair.host.address(version)
        with stack.create_server((host, PORT)) as listener, dial(pair, version) as client:
            listener.settimeout(5)
            conn, address = listener.accept()
            assert address[:2] == client.getsockname()[:2]
            assert conn.getpeername()[:2] == client.getsockname()[:2]
            with conn:
                client.sendall(b"question")
                assert conn.recv(100) == b"question"
                conn.sendall(b"answer")
                assert client.recv(100) == b"answer"
                conn.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""

    inside(pair, serve, guard=guard)


def test_a_connection_outlives_its_listener(pair: Pair) -> None:
    def serve(stack: netkat.Stack) -> None:
        listener = stack.create_server((pair.host.ipv4, PORT))
        with dial(pair, 4) as client:
            listener.settimeout(5)
            conn, _ = listener.accept()
            listener.close()
            with conn:
                client.sendall(b"still there")
                assert conn.recv(100) == b"still there"
                # The kernel would say so with RST if it saw what comes next.
                with pytest.raises((ConnectionRefusedError, TimeoutError)):
                    dial(pair, 4)
                conn.sendall(b"yes")
                assert client.recv(100) == b"yes"

    inside(pair, serve)


def test_many_at_once_each_with_its_own_bytes(pair: Pair) -> None:
    def serve(stack: netkat.Stack) -> None:
        with stack.create_server((pair.host.ipv4, PORT)) as listener:
            listener.settimeout(10)
            clients = [dial(pair, 4) for _ in range(100)]
            accepted = [listener.accept() for _ in clients]
            taken = {address[1]: conn for conn, address in accepted}
            for client in clients:
                client.sendall(str(client.getsockname()[1]).encode())
            for port, conn in taken.items():
                assert conn.recv(100) == str(port).encode()
                conn.close()
            for client in clients:
                assert client.recv(1) == b""
                client.close()

    inside(pair, serve)


def test_port_zero_takes_a_free_one(pair: Pair) -> None:
    def serve(stack: netkat.Stack) -> None:
        with stack.create_server((pair.host.ipv4, 0)) as listener:
            port = listener.getsockname()[1]
            assert port > 0
            with dial(pair, 4, port), listener.accept()[0]:
                pass

    inside(pair, serve)


def test_closing_wakes_who_waits(pair: Pair) -> None:
    def serve(stack: netkat.Stack) -> None:
        listener = stack.create_server((pair.host.ipv4, PORT))
        errors: list[OSError] = []

        def wait() -> None:
            try:
                listener.accept()
            except OSError as error:
                errors.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        listener.close()
        waiter.join(5)
        assert not waiter.is_alive() and len(errors) == 1

    inside(pair, serve)


def test_a_client_beyond_the_router_gets_its_answer(pair: Pair) -> None:
    """The stack takes the host's route to it: by the gateway."""
    pair.host.ip("route add 10.77.0.0/24 via 10.99.0.2")
    pair.peer.ip("addr add 10.77.0.9/32 dev lo")

    def serve(stack: netkat.Stack) -> None:
        with stack.create_server((pair.host.ipv4, PORT)) as listener:
            listener.settimeout(5)
            far = pair.peer.call(
                lambda: socket.create_connection((pair.host.ipv4, PORT), 5, ("10.77.0.9", 0))
            )
            with far, listener.accept()[0] as conn:
                conn.sendall(b"hello")
                assert far.recv(10) == b"hello"
                assert conn.getpeername()[0] == "10.77.0.9"

    inside(pair, serve)


def test_without_a_host_it_is_the_default_routes_interface(pair: Pair) -> None:
    pair.host.ip("route add default via 10.99.0.2")

    def serve(stack: netkat.Stack) -> None:
        with stack.create_server(("", PORT)) as listener:
            assert listener.getsockname() == (pair.host.ipv4, PORT)

    inside(pair, serve)


def test_a_port_with_a_socket_is_refused_by_its_owners_name(pair: Pair) -> None:
    def serve(stack: netkat.Stack) -> None:
        with socket.create_server((pair.host.ipv4, PORT)), pytest.raises(PortTaken) as refused:
            stack.create_server((pair.host.ipv4, PORT))
        assert "listening" in str(refused.value.owner)

    inside(pair, serve)


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
def test_a_nodeport_is_refused_by_its_owners_name(pair: Pair, tool: str) -> None:
    rules = (
        "-N KUBE-SERVICES",
        "-N KUBE-NODEPORTS",
        "-A PREROUTING -j KUBE-SERVICES",
        "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
        "-A KUBE-NODEPORTS -p tcp -m comment --comment default/web:http -m tcp --dport 30080"
        " -j DNAT --to-destination 10.244.2.2:8080",
    )
    for rule in rules:
        pair.host.run([tool, "-t", "nat", *rule.split()])
    refuses(pair, "default/web:http")


def test_a_nodeport_of_nftables_is_refused(pair: Pair) -> None:
    table = """table ip kube-proxy {
        map nodeports { type inet_proto . inet_service : verdict
            elements = { tcp . 30080 : goto external-web } }
        chain external-web { ip protocol tcp dnat to 10.244.2.2:8080; }
        chain nat-prerouting { type nat hook prerouting priority dstnat;
            meta l4proto . th dport vmap @nodeports; }
    }"""
    pair.host.run(["nft", "-f", "-"], input=table)
    refuses(pair, "external-web")


def test_a_published_port_of_nftables_is_refused(pair: Pair) -> None:
    table = """table ip published {
        chain prerouting { type nat hook prerouting priority dstnat;
            tcp dport { 30000-30090 } dnat to 10.244.2.2:8080; }
    }"""
    pair.host.run(["nft", "-f", "-"], input=table)
    refuses(pair, "prerouting")


def refuses(pair: Pair, owner: str) -> None:
    """30080 is refused and its owner named; the port beside it is taken."""

    def serve(stack: netkat.Stack) -> None:
        with pytest.raises(PortTaken) as refused:
            stack.create_server((pair.host.ipv4, 30080))
        assert owner in str(refused.value.owner)
        stack.create_server((pair.host.ipv4, 30180)).close()

    inside(pair, serve)


def test_a_foreign_address_and_loopback_are_refused(pair: Pair) -> None:
    def serve(stack: netkat.Stack) -> None:
        with pytest.raises(BadArgument, match="not an address of this host"):
            stack.create_server((pair.peer.ipv4, PORT))
        with pytest.raises(OwnAddress, match="not reachable through a network interface"):
            stack.create_server(("127.0.0.1", PORT))
        with pytest.raises(BadArgument, match="not a single address"):
            stack.create_server(("0.0.0.0", PORT))

    inside(pair, serve)


def test_nothing_of_the_port_is_left(pair: Pair) -> None:
    inside(pair, lambda stack: stack.create_server((pair.host.ipv4, PORT)).close())
    assert str(PORT) not in pair.host.run(["ss", "-Hltn"]).stdout
    assert "netkat" not in pair.host.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout
    with pytest.raises(ConnectionRefusedError):
        dial(pair, 4)


@pytest.mark.parametrize(
    ("default", "versions", "found"),
    [
        ("route add default via 10.99.0.2", (4, 6), ["10.99.0.1", "fd99::1"]),
        ("route add default via fd99::2", (4, 6), ["10.99.0.1", "fd99::1"]),
        ("route add default via 10.99.0.2", (6,), ["fd99::1"]),
    ],
)
def test_one_default_route_is_enough_for_both_families(
    pair: Pair, default: str, versions: tuple[int, ...], found: list[str]
) -> None:
    pair.host.ip(default)
    places = pair.host.call(lambda: list_listen_addresses(None, versions))
    assert [(str(place.address), place.link.name) for place in places] == [
        (address, "eth0") for address in found
    ]


@pytest.mark.parametrize(
    ("interface", "error", "words"),
    [
        (None, NoRoute, "no default route"),
        ("lo", OwnAddress, "not reachable through a network interface"),
        ("eth0", NoRoute, "eth0 has no IPv6 address"),
    ],
)
def test_where_nobody_can_listen(
    pair: Pair, interface: str | None, error: type[Exception], words: str
) -> None:
    pair.host.ip("addr del fd99::1/64 dev eth0")
    with pytest.raises(error, match=words):
        pair.host.call(lambda: list_listen_addresses(interface, (6,)))
