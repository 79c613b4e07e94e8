"""Run iperf3 and read its results."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.testbed import Host, Pair, ended, run, start

PORT = 5201


def tcp(pair: Pair, options: list[str]) -> float:
    """Return the Gbit/s of all connections, as iperf3's receiver counts them."""
    return float(_end(pair, options)["sum_received"]["bits_per_second"]) / 1e9


def udp(pair: Pair, rate: float, seconds: float, options: list[str]) -> tuple[float, float]:
    """Return (Gbit/s that arrived, share lost) for 1,400-byte datagrams at a rate in Gbit/s."""
    asked = ["-u", "-l", "1400", "-b", f"{rate * 1e9:.0f}", "-t", str(max(1, round(seconds)))]
    end = _end(pair, [*asked, *options])
    summary = end.get("sum_received") or end["sum"]
    lost = float(end["sum"]["lost_percent"]) / 100
    return float(summary["bits_per_second"]) / 1e9 * (1 - lost), lost


def _end(pair: Pair, options: list[str]) -> dict[str, Any]:
    with ended(start(pair.peer, ["iperf3", "-s", "-1"])):
        wait_for_port(pair.peer, PORT)
        argv = ["iperf3", "-c", pair.peer.ipv4, "-J", *options]
        spent = run(pair.host, argv, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(spent.output)
    if "error" in report:
        raise RuntimeError(f"iperf3: {report['error']}")
    end: dict[str, Any] = report["end"]
    return end


def wait_for_port(host: Host, port: int) -> None:
    """Wait until a process listens on the port. A connection would end iperf3 -s -1."""
    wanted = f":{port:04X} "
    until = time.monotonic() + 20
    while time.monotonic() < until:
        lines = host.call(listeners)
        if any(wanted in line for line in lines):
            return
        time.sleep(0.01)
    raise RuntimeError(f"no process listens on port {port}")


def listeners() -> list[str]:
    """Return /proc lines of listening TCP sockets in the calling thread's namespace."""
    lines = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]:
            if line.split()[3] == "0A":
                lines.append(" ".join(line.split()[1:3]))
    return lines
