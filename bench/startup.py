"""Start: exec to the first SYN on the wire, exec to exit on a refused port; memory while idle."""

from __future__ import annotations

import socket
import subprocess
import time
from functools import partial
from pathlib import Path

from bench.figures import Row, interleave
from bench.place import NETKAT, Pair, ended, listening, start

CLOSED = 9
TCP_FLAGS = 14 + 20 + 13
SYN = 2


def measure(pair: Pair, runs: int) -> list[Row]:
    """Milliseconds and MB."""
    syn = Row("exec to first SYN", "ms", False, {})
    refused = Row("exec to exit, refused port", "ms", False, {})
    memory = Row("memory, idle", "MB", False, {})
    tools = {"netkat": NETKAT, "nc": ["nc.openbsd"]}

    def starting(tool: str) -> None:
        first, whole = once(pair, [*tools[tool], pair.peer.ipv4, str(CLOSED)])
        syn.add(tool, first * 1000)
        refused.add(tool, whole * 1000)

    interleave(runs, {tool: partial(starting, tool) for tool in tools})
    tools["ncat"] = ["ncat"]

    def idling(tool: str, port: int) -> None:
        memory.add(tool, idle(pair, tools[tool], port))

    with listening(pair.peer, rest) as port:
        interleave(runs, {tool: partial(idling, tool, port) for tool in ("netkat", "ncat")})
    return [syn, refused, memory]


def once(pair: Pair, argv: list[str]) -> tuple[float, float]:
    """Seconds from exec to the first SYN that the peer sees, and to the exit."""
    tap = pair.peer.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    with tap:
        tap.bind((pair.peer.interface, 0x0800))
        tap.settimeout(20)
        begun = time.monotonic()
        with ended(start(pair.host, argv)) as child:
            while not is_syn(tap.recv(2048)):
                pass
            first = time.monotonic() - begun
            child.wait(20)
            return first, time.monotonic() - begun


def is_syn(frame: bytes) -> bool:
    """Whether it is IPv4, TCP, and opens a connection to the closed port."""
    return (
        len(frame) > TCP_FLAGS
        and frame[23] == socket.IPPROTO_TCP
        and frame[36:38] == CLOSED.to_bytes(2, "big")
        and frame[TCP_FLAGS] & 0x3F == SYN
    )


def idle(pair: Pair, tool: list[str], port: int) -> float:
    """Resident MB (private and shared) of a connection that does nothing."""
    argv = [*tool, pair.peer.ipv4, str(port)]
    with ended(start(pair.host, argv, stdin=subprocess.PIPE)) as child:
        time.sleep(1.5)
        for line in Path(f"/proc/{child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"{tool[0]} did not stay")


def rest(conn: socket.socket) -> None:
    """Hold the connection until the other side ends it."""
    conn.recv(1)
