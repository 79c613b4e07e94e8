"""netkat's streams, servers and datagrams in asyncio's and uvloop's loops; anyio and trio."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop

import netkat
from netkat.errors import NoAnswer, Refused
from tests.helpers.netns import Pair
from tests.helpers.peers import pattern, peer
from tests.helpers.tls import openssl_server

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", autouse=True)
def libuv() -> None:
    """Its first loop opens a pipe for signals, which stays."""
    uvloop.new_event_loop().close()


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Run a coroutine in one loop and in the other."""
    loop = LOOPS[request.param]()
    loop.set_exception_handler(lambda _, told: pytest.fail(f"unhandled in the loop: {told}"))
    try:
        yield loop.run_until_complete
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@contextmanager
def stack_of(pair: Pair, **options: Any) -> Iterator[netkat.Stack]:
    with netkat.Stack(netns=pair.host.name, **options) as stack:
        yield stack


async def finished(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def test_streams_both_ways_at_once(pair: Pair, run: Callable[..., Any]) -> None:
    data = pattern(2_000_000)

    async def echo(stack: netkat.Stack, port: int) -> bytes:
        reader, writer = await netkat.open_connection(pair.peer.ipv4, port, stack=stack)
        assert writer.get_extra_info("peername") == (pair.peer.ipv4, port)
        assert writer.get_extra_info("sockname")[0] == pair.host.ipv4

        async def write() -> None:
            for start in range(0, len(data), 100_000):
                writer.write(data[start : start + 100_000])
                await writer.drain()
            writer.write_eof()

        writing = asyncio.ensure_future(write())
        got = await reader.read(-1)
        await writing
        await finished(writer)
        return got

    with peer(pair.peer, "tcp-echo") as server, stack_of(pair) as stack:
        got = run(echo(stack, server.port))
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        assert server.event("closed")["bytes"] == len(data)


def test_tls_proves_the_peer(pair: Pair, run: Callable[..., Any], tmp_path: Path) -> None:
    async def talk(stack: netkat.Stack, context: ssl.SSLContext) -> None:
        reader, writer = await netkat.open_connection(
            pair.peer.ipv4, 4433, ssl=context, server_hostname="peer.test", stack=stack
        )
        writer.write(b"upside down\n")
        assert await reader.readline() == b"nwod edispu\n"
        await finished(writer)
        with pytest.raises(ssl.SSLCertVerificationError):
            await netkat.open_connection(
                pair.peer.ipv4, 4433, ssl=context, server_hostname="another.test", stack=stack
            )

    with openssl_server(pair.peer, tmp_path) as context, stack_of(pair) as stack:
        run(talk(stack, context))


def test_faults_are_the_same_as_without_a_loop(pair: Pair, run: Callable[..., Any]) -> None:
    async def dial(stack: netkat.Stack) -> None:
        with pytest.raises(ConnectionRefusedError) as refused:
            await netkat.open_connection(pair.peer.ipv4, 9, stack=stack)
        assert isinstance(refused.value, Refused) and refused.value.by == "RST"
        with pytest.raises(socket.gaierror):
            await netkat.open_connection("no-such-name.invalid", 9, stack=stack)
        with pytest.raises(NoAnswer, match="1 SYN"):
            await netkat.open_connection(pair.peer.ipv4, 10, timeout=0.2, stack=stack)

    pair.peer.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "10", "-j", "DROP"])
    with stack_of(pair) as stack:
        run(dial(stack))


def test_a_connect_that_is_cancelled_leaves_nothing(pair: Pair, run: Callable[..., Any]) -> None:
    async def dial(stack: netkat.Stack) -> None:
        dialling = [
            asyncio.ensure_future(netkat.open_connection(pair.peer.ipv4, 10, stack=stack))
            for _ in range(20)
        ]
        await asyncio.sleep(0.1)  # some wait for the network by now, some are being made ready
        for each in dialling:
            each.cancel()
        outcomes = await asyncio.gather(*dialling, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(netkat.open_connection(pair.peer.ipv4, 10, stack=stack), 0.1)

    pair.peer.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "10", "-j", "DROP"])
    with stack_of(pair) as stack:
        run(dial(stack))
        asyncio.run(no_port_held(pair))


async def no_port_held(pair: Pair) -> None:
    """The reserved ports of all that was begun are given back."""
    for _ in range(500):
        if not (held := pair.host.run(["ss", "-Htan"]).stdout):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"still held: {held}")


def test_a_server_serves_many_and_closes(pair: Pair, run: Callable[..., Any]) -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("peername")
        writer.write(str(address[1]).encode() + b" " + (await reader.read(-1)).upper())
        await finished(writer)

    def client(port: int, number: int) -> tuple[bytes, bytes]:
        with socket.create_connection((pair.host.ipv4, port), 10) as sock:
            mine = str(sock.getsockname()[1]).encode()
            sock.sendall(f"number {number}".encode())
            sock.shutdown(socket.SHUT_WR)
            return mine, sock.makefile("rb").read()

    async def serve(stack: netkat.Stack) -> None:
        loop = asyncio.get_running_loop()
        async with await netkat.start_server(upper, pair.host.ipv4, 0, stack=stack) as server:
            assert server.is_serving() and server.get_loop() is loop
            port = server.sockets[0].getsockname()[1]
            clients = [
                loop.run_in_executor(None, pair.peer.call, lambda n=n: client(port, n))
                for n in range(30)
            ]
            for number, outcome in enumerate(await asyncio.gather(*clients)):
                assert outcome[1] == outcome[0] + f" NUMBER {number}".encode()
        assert not server.is_serving() and server.sockets == ()
        await server.wait_closed()
        with pytest.raises(RuntimeError):
            await server.start_serving()

    with stack_of(pair) as stack:
        run(serve(stack))


def test_serve_forever_ends_when_cancelled(pair: Pair, run: Callable[..., Any]) -> None:
    async def serve(stack: netkat.Stack) -> None:
        server = await netkat.start_server(
            lambda _, writer: writer.close(), pair.host.ipv4, 0, start_serving=False, stack=stack
        )
        assert not server.is_serving()
        serving = asyncio.ensure_future(server.serve_forever())
        while not server.is_serving():
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()

    with stack_of(pair) as stack:
        run(serve(stack))


class Collector(asyncio.DatagramProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.came.put_nowait((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.came.put_nowait((exc,))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def test_datagrams_to_one_peer_and_to_anybody(pair: Pair, run: Callable[..., Any]) -> None:
    async def talk(stack: netkat.Stack, port: int) -> None:
        address = (pair.peer.ipv4, port)
        for remote in (address, None):
            transport, protocol = await netkat.create_datagram_endpoint(
                Collector, remote_addr=remote, local_addr=(pair.host.ipv4, 0), stack=stack
            )
            for number in range(20):
                transport.sendto(b"datagram %d" % number, None if remote else address)
            came = [await protocol.came.get() for _ in range(20)]
            # In any order: those that waited for ARP leave when it is answered.
            assert sorted(came) == sorted((b"datagram %d" % n, address) for n in range(20))
            assert transport.get_extra_info("peername") == remote
            assert transport.get_extra_info("sockname")[0] == pair.host.ipv4
            transport.close()
            assert transport.is_closing()
            assert await protocol.lost is None

    with peer(pair.peer, "udp-echo") as server, stack_of(pair) as stack:
        run(talk(stack, server.port))


def test_what_befalls_a_datagram_is_told_to_its_protocol(
    pair: Pair, run: Callable[..., Any]
) -> None:
    async def talk(stack: netkat.Stack) -> None:
        transport, protocol = await netkat.create_datagram_endpoint(
            Collector, remote_addr=(pair.peer.ipv4, 9), stack=stack
        )
        transport.sendto(b"to a closed port")
        (refused,) = await protocol.came.get()
        assert isinstance(refused, Refused)
        with pytest.raises(ValueError, match="another's address"):
            transport.sendto(b"", (pair.peer.ipv4, 10))
        pair.host.ip("link del eth0")
        lost = await protocol.lost
        assert isinstance(lost, netkat.errors.InterfaceGone)

    with stack_of(pair) as stack:
        run(talk(stack))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_waits_on_the_connection_itself(pair: Pair, backend: str) -> None:
    async def talk(conn: Any) -> bytes:
        conn.setblocking(False)
        await anyio.wait_writable(conn.fileno())
        conn.sendall(b"back to me")
        with anyio.fail_after(10):
            await anyio.wait_readable(conn.fileno())
        return bytes(conn.recv(100))

    async def by_socket(sock: socket.socket) -> bytes:
        async with await anyio.abc.SocketStream.from_socket(sock) as stream:
            await stream.send(b"as a socket")
            return await stream.receive()

    with peer(pair.peer, "tcp-echo") as server, stack_of(pair) as stack:
        address = (pair.peer.ipv4, server.port)
        with stack.create_connection(address, 5) as conn:
            assert anyio.run(talk, conn, backend=backend) == b"back to me"
            os.fstat(conn.fileno())  # still there: it is the connection's own
        # trio takes socket.socket alone, none of its subclasses.
        sock = socket.socket(fileno=stack.create_connection(address, 5).as_socket().detach())
        assert anyio.run(by_socket, sock, backend=backend) == b"as a socket"
