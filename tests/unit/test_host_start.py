"""What a connect imports of this room, and how port owners are read from procfs."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

from netkat.flow import Protocol
from netkat.host.port_owner import port_owner

ROOT = Path(__file__).resolve().parents[2]

ON_THE_WAY = """
import sys
import netkat.host.resolve, netkat.host.routes, netkat.host.links
import netkat.host.neighbors, netkat.host.port_reservation, netkat.host.capabilities
import netkat.host.netns
print(*sys.modules)
"""


def test_a_connect_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_THE_WAY], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert "netkat.host.port_reservation" in loaded
    heavy = {"pyroute2", "cffi", "ctypes", "typer", "asyncio", "difflib", "subprocess", "shlex"}
    assert loaded & heavy == set()
    errors_and_rare_ways = {"netkat.host.port_owner", "netkat.host.fib", "netkat.host.ip_rules"}
    assert loaded & errors_and_rare_ways == set()


def test_owner_of_each_kind_of_socket() -> None:
    me = f"(pid {os.getpid()})"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        owner = port_owner(Protocol.TCP, ip_address("127.0.0.1"), port)
        assert owner is not None and me in owner
        assert owner.endswith(f"listening on 127.0.0.1:{port}")
        assert port_owner(Protocol.UDP, ip_address("127.0.0.1"), port) is None
        assert port_owner(Protocol.TCP, ip_address("192.0.2.1"), port) is None


def test_owner_behind_a_wildcard() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            owner = port_owner(Protocol.TCP, ip_address(address), port)
            assert owner is not None and owner.endswith(f"listening on [::]:{port}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("0.0.0.0", 0))
        port = bound.getsockname()[1]
        owner = port_owner(Protocol.UDP, ip_address("127.0.0.1"), port)
        assert owner is not None and owner.endswith(f"bound on 0.0.0.0:{port}")


def test_a_socket_that_is_only_bound_has_an_owner() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        owner = port_owner(Protocol.TCP, ip_address("127.0.0.1"), port)
        assert owner is not None and owner.endswith(f"bound on 127.0.0.1:{port}")
        assert f"(pid {os.getpid()})" in owner


def test_ipv6_alone_does_not_hold_the_ipv4_port() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert port_owner(Protocol.TCP, ip_address("127.0.0.1"), port) is None
        assert port_owner(Protocol.TCP, ip_address("::1"), port) is not None


def test_an_owner_is_found_beside_a_running_event_loop() -> None:
    async def ask(port: int) -> str | None:
        return port_owner(Protocol.TCP, ip_address("127.0.0.1"), port)

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "listening" in (asyncio.run(ask(server.getsockname()[1])) or "")


def test_time_wait_has_no_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        port = client.getsockname()[1]
        client.close()
        accepted.close()
    owner = port_owner(Protocol.TCP, ip_address("127.0.0.1"), port)
    assert owner is not None
    assert owner.startswith("an orphaned socket, in TIME_WAIT")
