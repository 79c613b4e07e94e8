"""netkat connect against a door that is made up: order, words, exit codes, tear-down, signals."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from netkat.commands.connect.connect_request import ConnectRequest
from netkat.commands.connect.pipeline import connect
from netkat.commands.relay.relay_options import RelayOptions
from netkat.commands.signals import Interrupted
from netkat.engine.bypass import Cancelled
from netkat.errors import (
    BadArgument,
    GuardFailed,
    MissingCapability,
    NameNotFound,
    NetkatError,
    NoAnswer,
    NoRoute,
    Refused,
)
from netkat.flow import IPAddress, Protocol
from netkat.options import PathOptions
from tests.helpers.kernel_conn import KernelConn, reset

RST = "Connection refused [RST from 10.9.0.2 ttl 64]"


class Attempt:
    def __init__(self, address: IPAddress, port: int) -> None:
        self.address, self.port = address, port

    def notes(self) -> list[str]:
        return ["eth0 10.9.0.1, next hop 10.9.0.2"]

    def warnings(self) -> list[str]:
        return []


class FakeDoor:
    """Stands for resolver and core, and writes down what is asked of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.addresses = ["10.9.0.2"]
        self.answers: dict[str, Exception | KernelConn | str] = {}
        self.raise_at: dict[str, Exception] = {}
        self.request: ConnectRequest | None = None

    def step(self, name: str) -> None:
        self.log.append(name)
        if name in self.raise_at:
            raise self.raise_at[name]

    def resolve(self, host: str, port: str, **options: Any) -> list[tuple[IPAddress, int]]:
        self.step("resolve")
        if host == "slow":
            wait_for(options["wakeup_fd"])
            raise InterruptedError("while resolving slow")
        number = int(port) if port.isdigit() else 80
        return [(ip_address(address), number) for address in self.addresses]

    def open_core(self, request: ConnectRequest, tap: object) -> FakeCore:
        assert tap is None
        self.request = request
        return FakeCore(self)


class FakeCore:
    def __init__(self, door: FakeDoor) -> None:
        self._door = door

    def prepare(
        self, destination: IPAddress, port: int, *, protocol: Protocol, peers: int
    ) -> Attempt:
        assert (protocol, peers) == (Protocol.TCP, 1)
        self._door.step("prepare")
        return Attempt(destination, port)

    def notes(self) -> list[str]:
        return ["eth0: tcx guard"]

    def drop_privileges(self) -> None:
        self._door.step("drop")

    def load(self) -> None:
        self._door.step("load")

    def dial(self, attempt: Attempt, *, timeout: float, cancel_fd: int) -> KernelConn:
        self._door.step(f"connect {attempt.address} {timeout:g}")
        answer = self._door.answers[str(attempt.address)]
        if isinstance(answer, KernelConn):
            return answer
        if isinstance(answer, str):
            wait_for(cancel_fd)
            raise Cancelled
        raise answer

    def close(self) -> None:
        self._door.step("close")


def wait_for(fd: int) -> None:
    assert select.select([fd], [], [], 10)[0], "no wake-up"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> FakeDoor:
    made = FakeDoor()
    monkeypatch.setattr("netkat.host.resolve.resolve", made.resolve)
    monkeypatch.setattr("netkat.commands.connect.pipeline.open_core", made.open_core)
    # What the core gives is a connection already.
    monkeypatch.setattr(
        "netkat.commands.connect.dial.connection_on", lambda session, protocol: session
    )
    return made


def run(request: ConnectRequest) -> tuple[int, list[str]]:
    said: list[str] = []
    return connect(request, said.append), said


def asked(host: str = "10.9.0.2", port: str = "90", **options: Any) -> ConnectRequest:
    return ConnectRequest(host, port, numeric=options.pop("numeric", True), **options)


def over() -> KernelConn:
    """A connection whose peer has ended it."""
    conn = KernelConn()
    conn.peer.close()
    return conn


def later(seconds: float, action: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def test_privileges_go_before_the_library_and_everything_is_taken_down(door: FakeDoor) -> None:
    conn = door.answers["10.9.0.2"] = over()
    assert run(asked(read_stdin=False)) == (0, [])
    assert door.log == ["resolve", "prepare", "drop", "load", "connect 10.9.0.2 10", "close"]
    assert conn.ended == "closed"


def test_options_reach_the_core(door: FakeDoor) -> None:
    door.answers["10.9.0.2"] = over()
    via = ip_address("10.9.0.9")
    where: dict[str, Any] = {"interface": "eth0", "via": via, "table": "main", "netns": "pod"}
    path = PathOptions(source_port=7, guard="cbpf", qdisc_bypass=True, **where)
    run(asked(read_stdin=False, wait=0.5, path=path))
    assert door.log[-2] == "connect 10.9.0.2 0.5"
    assert door.request is not None
    assert (door.request.path, door.request.socket_options) == (path, None)


@pytest.mark.parametrize("step", ["resolve", "prepare", "drop", "load"])
def test_a_fault_before_the_network_takes_down_what_was_made(door: FakeDoor, step: str) -> None:
    door.raise_at[step] = MissingCapability("CAP_NET_RAW is missing")
    with pytest.raises(MissingCapability):
        run(asked())
    assert ("close" in door.log) is (step != "resolve")


def test_v_says_ncs_words(door: FakeDoor) -> None:
    door.answers["10.9.0.2"] = over()
    code, said = run(asked(read_stdin=False, verbosity=1))
    assert code == 0
    assert said[:-1] == [
        "netkat: eth0 10.9.0.1, next hop 10.9.0.2",
        "netkat: eth0: tcx guard",
        "Connection to 10.9.0.2 90 port [tcp/*] succeeded!",
    ]


def test_a_service_and_a_name_are_named_as_nc_does(door: FakeDoor) -> None:
    door.answers["10.9.0.2"] = over()
    _, said = run(asked("node2", "http", read_stdin=False, verbosity=1, numeric=False))
    assert said[2] == "Connection to node2 (10.9.0.2) 80 port [tcp/http] succeeded!"


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_refused_connect_is_one_line(door: FakeDoor, verbosity: int) -> None:
    door.answers["10.9.0.2"] = Refused(RST)
    code, said = run(asked(port="81", verbosity=verbosity))
    assert code == 1
    line, *more = said[2 * verbosity :]
    assert line == f"netkat: connect to 10.9.0.2 port 81 (tcp) failed: {RST}"
    assert [word[:8] for word in more] == ["  next: "] * verbosity


def test_every_address_is_tried(door: FakeDoor) -> None:
    door.addresses = ["2001:db8::2", "10.9.0.3", "10.9.0.2"]
    door.answers = {
        "2001:db8::2": NoRoute("no route"),
        "10.9.0.3": NoAnswer("timed out [no reply to 3 SYNs]", sent=3),
        "10.9.0.2": over(),
    }
    code, said = run(asked("node2", read_stdin=False, verbosity=1))
    assert code == 0
    assert said[4:-1] == [
        "netkat: connect to node2 (2001:db8::2) port 90 (tcp) failed: no route",
        "netkat: connect to node2 (10.9.0.3) port 90 (tcp) failed: timed out [no reply to 3 SYNs]",
        "Connection to node2 (10.9.0.2) 90 port [tcp/*] succeeded!",
    ]


def test_the_network_has_the_last_word(door: FakeDoor) -> None:
    door.addresses = ["10.9.0.2", "2001:db8::2"]
    door.answers = {
        "10.9.0.2": Refused(RST, hint="look there"),
        "2001:db8::2": NoRoute("no route"),
    }
    code, said = run(asked("node2"))
    assert code == 1
    assert said == [
        f"netkat: connect to node2 (10.9.0.2) port 90 (tcp) failed: {RST} (tried 2 addresses)",
        "  next: look there",
    ]


def test_no_route_at_all_never_came_to_the_network(door: FakeDoor) -> None:
    door.answers["10.9.0.2"] = NoRoute("no route")
    code, said = run(asked())
    assert code == 2
    assert said == ["netkat: connect to 10.9.0.2 port 90 (tcp) failed: no route"]


def test_a_guard_that_fails_stops_the_rest(door: FakeDoor) -> None:
    door.addresses = ["10.9.0.2", "10.9.0.3"]
    door.answers["10.9.0.2"] = GuardFailed("never saw the answer", program="cil_from_netdev")
    with pytest.raises(GuardFailed):
        run(asked())
    assert door.log[-2:] == ["connect 10.9.0.2 10", "close"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("state", ["resolving", "connecting", "relaying"])
def test_signals_in_every_state(door: FakeDoor, state: str, number: signal.Signals) -> None:
    conn = KernelConn()
    door.answers["10.9.0.2"] = "never" if state == "connecting" else conn
    before = signal.getsignal(number)
    later(0.3, lambda: os.kill(os.getpid(), number))
    began = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        run(
            asked(
                "slow" if state == "resolving" else "10.9.0.2",
                read_stdin=False,
                wait=10,
            )
        )
    assert time.monotonic() - began < 5
    assert caught.value.exit_code == 128 + number
    assert state == "resolving" or door.log[-1] == "close"
    assert signal.getsignal(number) is before
    if state == "relaying":
        assert conn.peer.recv(10) == b"", "a FIN: the peer has all there was"
    conn.abort()
    conn.peer.close()


def test_a_reset_names_the_peer(door: FakeDoor) -> None:
    conn = KernelConn()
    door.answers["10.9.0.2"] = conn
    later(0.2, lambda: reset(conn.peer))
    with pytest.raises(NetkatError) as caught:
        run(asked(read_stdin=False))
    assert caught.value.message.startswith("10.9.0.2 port 90 (tcp): Connection reset by peer [")
    assert caught.value.exit_code == 1


def test_idle_time_is_said_and_no_error(door: FakeDoor) -> None:
    conn = KernelConn()
    door.answers["10.9.0.2"] = conn
    code, said = run(asked(read_stdin=False, relay=RelayOptions(idle=0.5), verbosity=1))
    assert code == 0
    assert said[-2:] == [
        "netkat: idle timeout: no data for 0.5 s, closing",
        "netkat: 0 bytes sent, 0 received",
    ]
    conn.peer.close()


@pytest.mark.parametrize("error", [NameNotFound("nobody"), BadArgument("nonsense")])
def test_what_never_came_to_the_network_goes_up_as_it_is(
    door: FakeDoor, error: NetkatError
) -> None:
    door.raise_at["resolve"] = error
    with pytest.raises(type(error)):
        run(asked())
    assert error.exit_code == 2
