"""Run the soak test and print its result; root, in namespaces of its own.

    python -m tests.soak --seconds 600 [--connections 10000] [--out DIRECTORY]

A long-running program of netkat's (worker.py) talks to kernel servers over a path that loses 1 %,
while the network changes every two seconds and a netkat command is killed every second. Another
program holds kernel connections on the same interface (bystanders.py). With --out the samples
are written as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.helpers.forwarder import impaired_pair
from tests.helpers.netns import Host, Pair
from tests.soak.changes import CHANGES

LOSS = 0.01
EVERY = 2.0
"""Seconds between two changes."""
SETTLED = 0.25
"""Share of the time after which memory and descriptors must not grow any more."""


class Child:
    """A program of the test: JSON lines come from it, and the end of its stdin ends it."""

    def __init__(self, host: Host, module: str, *arguments: object) -> None:
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.samples: list[dict[str, Any]] = []
        self._child = host.python(
            module, *map(str, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            sample = json.loads(line)
            self.samples.append(sample)
            self._lines.put(sample)

    def first(self) -> dict[str, Any]:
        """The first line that was not read yet."""
        return self._lines.get(timeout=200)

    def tell(self, message: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(message) + "\n")
        self._child.stdin.flush()

    def finish(self) -> dict[str, Any]:
        """End it; its last line."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(300)
        time.sleep(0.2)  # the reading thread takes the last line
        return self.samples[-1]


def kernel_objects(host: Host) -> dict[str, int]:
    """What netkat may leave in the kernel: filters and programs on the interface, sockets."""
    filters = host.run(["tc", "filter", "show", "dev", host.interface, "ingress"]).stdout
    sockets = host.run(["ss", "-Ha", "-0"]).stdout + host.run(["ss", "-Hltu"]).stdout
    return {"filters": len(filters.splitlines()), "sockets": len(sockets.splitlines())}


def kill_commands(pair: Pair, port: int, counts: Counter[str], stop: threading.Event) -> None:
    """Once a second start a netkat that transfers something, and kill it at some moment."""
    netkat = str(Path(sys.executable).with_name("netkat"))
    while not stop.is_set():
        began = time.monotonic()
        child = pair.host.popen(
            [netkat, "--no-shutdown", pair.peer.ipv4, str(port)],
            stdin=open("/dev/zero", "rb"),  # noqa: SIM115, the child has it
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(random.uniform(0.0, 0.8))
        child.send_signal(signal.SIGKILL)
        child.wait(20)
        counts["killed"] += 1
        stop.wait(max(0.0, 1.0 - (time.monotonic() - began)))


def soak(seconds: float, connections: int) -> dict[str, Any]:
    """Run it: what was counted, what failed, and the samples."""
    with impaired_pair("nks", seed=3) as pair:
        pair.host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        server = Child(pair.peer, "tests.soak.servers", pair.peer.ipv4)
        ports = server.first()
        bystanders = Child(
            pair.host, "tests.soak.bystanders", pair.peer.ipv4, ports["tcp"], connections
        )
        bystanders.first()
        pair.extra["forwarder"].change(loss=LOSS)
        before = kernel_objects(pair.host)
        worker = Child(
            pair.host,
            "tests.soak.worker",
            pair.host.ipv4,
            pair.peer.ipv4,
            ports["tcp"],
            ports["udp"],
        )
        server.tell({"connect": [pair.host.ipv4, worker.first()["port"]]})
        changed = change_network(pair, ports["tcp"], seconds)
        server.tell({"stop": True})
        result = {"changes": changed, "server": server.first(), "worker": worker.finish()}
        result["bystanders"] = bystanders.finish()
        server.finish()
        result["left"] = {
            name: count - before[name] for name, count in kernel_objects(pair.host).items()
        }
        return {**result, "samples": worker.samples[1:]}


def change_network(pair: Pair, port: int, seconds: float) -> Counter[str]:
    """Change the network until the time is over, and kill commands beside it."""
    counts: Counter[str] = Counter()
    stop = threading.Event()
    killer = threading.Thread(target=kill_commands, args=(pair, port, counts, stop))
    killer.start()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            change = random.choice(CHANGES)
            change(pair)
            counts[change.__name__] += 1
            time.sleep(EVERY)
    finally:
        stop.set()
        killer.join(30)
    return counts


def faults(result: dict[str, Any], connections: int) -> list[str]:
    """What is wrong with a result."""
    found = [*result["worker"]["failures"], *result["server"]["failures"]]
    found += result["bystanders"]["failures"]
    if result["bystanders"]["alive"] != connections:
        found.append(f"{result['bystanders']['alive']} of {connections} kernel connections answer")
    found += [f"left behind: {count} {name}" for name, count in result["left"].items() if count > 0]
    samples = [sample for sample in result["samples"] if "resident" in sample][:-1]
    later = samples[int(len(samples) * SETTLED) :]
    for name, most in (("resident", 1.2), ("descriptors", 1.5)):
        first, last = (
            middle(later[: len(later) // 4], name),
            middle(later[-len(later) // 4 :], name),
        )
        if last > most * first:
            found.append(f"{name} grew from {first} to {last}")
    for name in ("connection", "idle connection", "as_socket()", "datagram", "served", "packets"):
        if not result["worker"]["counts"].get(name):
            found.append(f"nothing was done: {name}")
    return found


def middle(samples: list[dict[str, Any]], name: str) -> float:
    values = sorted(sample[name] for sample in samples)
    return float(values[len(values) // 2]) if values else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = soak(given.seconds, given.connections)
    samples = result.pop("samples")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in samples))
        (given.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    found = faults({**result, "samples": samples}, given.connections)
    for fault in found:
        print(f"FAULT {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
