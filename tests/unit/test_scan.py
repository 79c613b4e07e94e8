"""-z over loopback through kernel sockets: order, words, exit codes, JSON, bounds, signals.

What netkat's own stack does on top of it is in tests/netns/test_scan_ports.py.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address
from typing import Any

import jsonschema
import pytest

from netkat.commands.connect.connect_request import ConnectRequest
from netkat.commands.connect.pipeline import connect
from netkat.commands.relay.relay_options import RelayOptions
from netkat.commands.signals import Interrupted
from netkat.conn import port_scan
from netkat.errors import NameNotFound
from netkat.flow import Protocol
from netkat.kernel_sockets.sockets import KernelSockets
from tests.helpers.waiting import wait_until
from tests.repo import tree

HERE = "127.0.0.1"
SCHEMA = json.loads((tree.ROOT / "docs/json/port.schema.json").read_text())


@pytest.fixture(autouse=True)
def rights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the tests' own process that scans, and the next test may want its rights."""
    monkeypatch.setattr(KernelSockets, "drop_privileges", lambda _: None)


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(undo: ExitStack, *, kind: int = socket.SOCK_STREAM) -> int:
    """The port of somebody who accepts, or reads."""
    server = undo.enter_context(socket.socket(socket.AF_INET, kind))
    server.bind((HERE, 0))
    if kind == socket.SOCK_STREAM:
        server.listen(8)
    return int(server.getsockname()[1])


def echoing(undo: ExitStack) -> int:
    server = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind((HERE, 0))
    server.settimeout(20)

    def answer() -> None:
        try:
            server.sendto(*server.recvfrom(100))
        except OSError:
            return  # closed: nobody asked

    threading.Thread(target=answer, daemon=True).start()
    return int(server.getsockname()[1])


def closed(undo: ExitStack, kind: int = socket.SOCK_STREAM) -> int:
    """A port that is nobody's, and stays so: bound, and not listening (TCP); closed (UDP)."""
    holder = undo.enter_context(socket.socket(socket.AF_INET, kind))
    holder.bind((HERE, 0))
    port = int(holder.getsockname()[1])
    if kind == socket.SOCK_DGRAM:
        holder.close()
    return port


def run(*ports: int | str, **options: Any) -> tuple[int, list[str]]:
    said: list[str] = []
    options = {"wait": 5.0, "numeric": True, "kernel": True, **options}
    host = options.pop("host", HERE)
    request = ConnectRequest(host, str(ports[0]), zero=True, ports=ports, **options)
    return connect(request, said.append), [line for line in said if "kernel socket:" not in line]


def scanned(
    core: KernelSockets, hosts: list[str], ports: list[int], protocol: Protocol, *, timeout: float
) -> port_scan.PortScan:
    """A scan through kernel sockets."""
    addresses = [ip_address(host) for host in hosts]
    prepare = partial(core.prepare, port=ports[0], protocol=protocol, peers=len(ports))
    return port_scan.PortScan(
        [(address, core.share_port(prepare(address))) for address in addresses],
        ports,
        protocol,
        timeout=timeout,
    )


def test_words_in_the_order_asked_for(undo: ExitStack) -> None:
    shut, opened = closed(undo), listening(undo)
    code, said = run(opened, shut, opened, verbosity=1)
    assert code == 0
    first, second = said
    assert first == f"Connection to {HERE} {opened} port [tcp/*] succeeded!"
    assert second.startswith(f"netkat: connect to {HERE} port {shut} (tcp) failed: Connection ref")


@pytest.mark.parametrize(
    ("states", "options", "code"),
    [
        ("o", {}, 0),
        ("c", {}, 1),
        ("co", {}, 0),
        ("cc", {}, 1),
        ("a", {"protocol": Protocol.UDP}, 0),
        ("s", {"protocol": Protocol.UDP}, 0),
        ("s", {"protocol": Protocol.UDP, "require_reply": True}, 1),
        ("sa", {"protocol": Protocol.UDP, "require_reply": True}, 0),
        ("u", {"protocol": Protocol.UDP}, 1),
        ("us", {"protocol": Protocol.UDP}, 0),
    ],
)
def test_exit_codes_and_silence(
    undo: ExitStack, states: str, options: dict[str, Any], code: int
) -> None:
    """o: open, c: closed; UDP: a: answers, s: silent, u: ICMP. Nothing is said without -v."""
    make: dict[str, Callable[[], int]] = {
        "o": lambda: listening(undo),
        "c": lambda: closed(undo),
        "a": lambda: echoing(undo),
        "s": lambda: listening(undo, kind=socket.SOCK_DGRAM),
        "u": lambda: closed(undo, socket.SOCK_DGRAM),
    }
    wait = {"wait": 0.3} if "s" in states else {}
    assert run(*(make[state]() for state in states), **options, **wait) == (code, [])


def test_udp_in_three_states(undo: ExitStack) -> None:
    answers, silent = echoing(undo), listening(undo, kind=socket.SOCK_DGRAM)
    shut = closed(undo, socket.SOCK_DGRAM)
    code, said = run(answers, silent, shut, protocol=Protocol.UDP, verbosity=1, wait=0.6)
    assert code == 0
    assert said[:3] == [
        f"Connection to {HERE} {answers} port [udp/*] succeeded!",
        f"netkat: connect to {HERE} port {silent} (udp): no answer (open or filtered)"
        " [no reply to 3 datagrams]",
        f"netkat: connect to {HERE} port {shut} (udp) failed:"
        f" Connection refused [ICMP port unreachable from {HERE}]; that is this host:"
        " a rule that rejects, or no answer to ARP",
    ]
    assert "hosts limit ICMP errors" in said[3] and len(said) == 4


def test_json_is_one_line_a_port(undo: ExitStack, capfd: pytest.CaptureFixture[str]) -> None:
    opened, shut = listening(undo), closed(undo)
    silent = listening(undo, kind=socket.SOCK_DGRAM)
    json_asked = RelayOptions(json=True)
    assert run(shut, opened, relay=json_asked) == (0, [])
    assert run(silent, relay=json_asked, protocol=Protocol.UDP, wait=0.1) == (0, [])
    assert run(80, relay=json_asked, host="localhost", numeric=False)[0] in (0, 1)
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    for record in records:
        jsonschema.validate(record, SCHEMA)
    assert [(one["port"], one["state"]) for one in records[:3]] == [
        (shut, "closed"),
        (opened, "open"),
        (silent, "open_or_filtered"),
    ]
    assert records[0]["error"]["kind"] == "Refused" and records[1]["error"] is None
    assert records[3]["service"] == "http" and records[3]["host"] == "localhost"


def test_a_schema_that_holds_refuses_what_is_not_a_port() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "port": 70000}, SCHEMA)


def test_services_by_name_and_none_twice(undo: ExitStack) -> None:
    code, said = run("http", 80, "domain", numeric=False, verbosity=1, wait=0.5)
    ports = [word for line in said for word in line.split() if word in ("80", "53")]
    assert code in (0, 1)
    assert ports == ["80", "53"]
    with pytest.raises(NameNotFound, match="no such service"):
        run("no-such-service", numeric=False)
    with pytest.raises(NameNotFound, match="-n disables service names"):
        run(80, "http")


def test_random_order_is_the_same_ports(undo: ExitStack, capfd: pytest.CaptureFixture[str]) -> None:
    ports = range(40001, 40101)
    run(*ports, shuffle=True, relay=RelayOptions(json=True))
    asked = [json.loads(line)["port"] for line in capfd.readouterr().out.splitlines()]
    assert sorted(asked) == list(ports) != asked


@pytest.mark.parametrize("most", [1, 4])
def test_no_more_at_once_than_allowed(
    undo: ExitStack, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports that never answer, so that those under way pile up."""
    monkeypatch.setattr(port_scan, "AT_ONCE", most)
    begun: list[float] = []
    silent = [listening(undo, kind=socket.SOCK_DGRAM) for _ in range(2 * most)]
    with KernelSockets() as core:
        for outcome in scanned(core, [HERE], silent, Protocol.UDP, timeout=0.3):
            assert not outcome.answered and outcome.fault is None and outcome.sent == 3
            begun.append(time.monotonic() - outcome.seconds)
    assert len(begun) == 2 * most
    # The second half began when the first was over.
    assert min(sorted(begun)[most:]) - max(sorted(begun)[:most]) > 0.2


def test_every_address_of_a_name_until_one_answers(undo: ExitStack) -> None:
    opened = listening(undo)
    addresses = ["127.0.0.2", HERE, "127.0.0.3"]
    with KernelSockets() as core:
        outcomes = list(scanned(core, addresses, [opened], Protocol.TCP, timeout=5))
    assert [(str(one.address), one.answered, one.last) for one in outcomes] == [
        ("127.0.0.2", False, False),
        (HERE, True, True),
    ]


def test_a_closed_pipe_ends_it_quietly(undo: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    kept = os.dup(1)
    os.dup2(writer, 1)
    try:
        assert run(closed(undo), listening(undo), relay=RelayOptions(json=True)) == (1, [])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(writer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_is_known(undo: ExitStack, number: signal.Signals) -> None:
    silent, answers = listening(undo, kind=socket.SOCK_DGRAM), echoing(undo)
    said: list[str] = []
    request = ConnectRequest(
        HERE,
        str(silent),
        zero=True,
        ports=(silent, answers),
        protocol=Protocol.UDP,
        wait=60,
        verbosity=1,
        kernel=True,
    )
    threading.Timer(0.5, lambda: os.kill(os.getpid(), number)).start()
    began = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        connect(request, said.append)
    assert time.monotonic() - began < 20
    assert caught.value.exit_code == 128 + number
    assert said[-1].startswith(f"Connection to {HERE} {answers} port [udp/")


def test_thousands_of_ports_leave_nothing_behind(undo: ExitStack) -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    assert run(*range(30000, 32000), wait=30.0)[0] in (0, 1)
    gc.collect()
    wait_until(lambda: set(os.listdir("/proc/self/fd")) <= before)
