"""Memory of an idle netkat, of one that has sent much, and of a thousand connections."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.bulk import command
from bench.bulk_receiver import sink
from bench.children import HOLD, ask
from bench.iperf3 import wait_for_port
from bench.samples import Comparison, interleave
from bench.testbed import NETKAT, Extent, Host, Pair, ended, listening, page_cache_file, start
from tests.helpers.netns import netns_pair

PORT = 7000
SETTLED = 0.4
"""Seconds without growth after which the memory of a child is read."""


def measure(extent: Extent) -> list[Comparison]:
    """Measure MB, and KiB per connection."""
    with netns_pair("nkb") as pair:
        return [idle(pair, extent), *connections(pair, extent), through(pair, extent)]


def idle(pair: Pair, extent: Extent) -> Comparison:
    """Measure the resident memory of an idle connection."""
    row = Comparison("memory, idle", "MB", False, limits=(70.0, 50.0))

    def by(tool: str, argv: list[str]) -> None:
        with ended(start(pair.host, argv, stdin=subprocess.PIPE)) as child:
            row.add(tool, settled(child.pid) / 1e3)

    with listening(pair.peer, rest, at_once=True) as port:
        tools = {"netkat": [*NETKAT], "ncat": ["ncat"]}
        measures: dict[str, Callable[[], None]] = {
            tool: partial(by, tool, [*argv, pair.peer.ipv4, str(port)])
            for tool, argv in tools.items()
        }
        interleave(min(extent.runs, 3), measures)
    return row


def through(pair: Pair, extent: Extent) -> Comparison:
    """Measure the growth of resident memory after the first quarter of a bulk send."""
    what = f"memory, growth in the last three quarters of {extent.megabytes} MiB sent"
    row = Comparison(what, "MB", False, limits=(16.0, 4.0))
    with page_cache_file(extent.megabytes << 20) as file, sink(pair.peer) as end:
        for _ in range(min(extent.runs, 3)):
            seen: list[float] = []
            with file.open("rb") as stdin:
                argv = command("netkat", pair.peer.ipv4, end.port)
                with ended(start(pair.host, argv, stdin=stdin)) as child:
                    while child.poll() is None:
                        if stdin.tell():  # the offset is shared: it has begun
                            seen.append(resident(child.pid))
                        time.sleep(0.01)
            end.take()
            first = max(seen[: max(1, len(seen) // 4)])
            row.add("netkat", (max(seen) - first) / 1e3)
    return row


def connections(pair: Pair, extent: Extent) -> list[Comparison]:
    """Measure the memory of an idle connection of many, opened and accepted."""
    count = 200 if extent.short else 1000
    opened = Comparison(
        f"memory of a connection, {count:,} idle", "KiB", False, limits=(128.0, 64.0)
    )
    came = Comparison(
        f"memory of a connection that came, {count:,} idle", "KiB", False, limits=(128.0, 64.0)
    )
    with listening(pair.peer, rest, at_once=True) as port:
        for _ in range(min(extent.runs, 2)):
            opened.add("netkat", ask(pair.host, "netkat", HOLD, pair.peer.ipv4, port, count))
    servers = {
        "netkat": [sys.executable, "-c", LISTEN],
        "ncat -k": ["ncat", "-lk", "-m", str(count + 16)],
    }
    # A port each: the kernel may have something left of what was on another.
    ports = itertools.count(PORT)
    for _ in range(min(extent.runs, 2)):
        for (tool, argv), at in zip(servers.items(), ports, strict=False):
            listen = [*argv, pair.host.ipv4, str(at)]
            with ended(start(pair.host, listen, stdin=subprocess.PIPE)) as child:
                came.add(tool, held(pair, child, at, count))
    return [opened, came]


LISTEN = """
import sys
from netkat import create_server
listener = create_server((sys.argv[1], int(sys.argv[2])), backlog=1024)
held = []
while True:
    held.append(listener.accept())
"""


def held(pair: Pair, child: subprocess.Popen[str], port: int, count: int) -> float:
    """Return the KiB that a server needs for each of ``count`` clients."""
    wait_for_port(pair.host, port)
    address = pair.host.ipv4, port
    with clients(pair.peer, address, 8):
        before = settled(child.pid)
        with clients(pair.peer, address, count):
            return (settled(child.pid) - before) / count


@contextlib.contextmanager
def clients(host: Host, address: tuple[str, int], count: int) -> Iterator[None]:
    """Open ``count`` kernel connections."""

    def connect() -> socket.socket:
        # A server that accepts more slowly than that would be asked again after a second.
        time.sleep(0.002)
        until = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection(address, timeout=20)
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    made = host.call(lambda: [connect() for _ in range(count)])
    try:
        yield
    finally:
        for conn in made:
            conn.close()


def settled(pid: int) -> float:
    """Return the resident kB after it has not grown for a while."""
    before, since = resident(pid), time.monotonic()
    until = since + 20
    while time.monotonic() < until:
        time.sleep(0.02)
        now = resident(pid)
        if now > before + 64 or now < 5000:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > SETTLED:
            break
    return resident(pid)


def resident(pid: int) -> float:
    """Return resident kB, private and shared; 0 if the process has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1.024
    return 0.0


def rest(conn: socket.socket) -> None:
    """Hold the connection until the peer closes it."""
    conn.recv(1)
