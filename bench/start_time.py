"""Start-up: exec to the first SYN, exec to exit on a refused port, and time of imports."""

from __future__ import annotations

import compileall
import re
import socket
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import netkat
from bench.samples import Comparison, interleave
from bench.testbed import NETKAT, Extent, Pair, ended, run, start
from tests.helpers.netns import netns_pair

CLOSED = 9
TCP_FLAGS = 14 + 20 + 13
SYN = 2
LIMITS = (350.0, 150.0)
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| \s*(\S+)")
THIRD_PARTY = ("netkat", "typer", "cffi", "_cffi_backend")


def measure(extent: Extent) -> list[Comparison]:
    """Measure milliseconds."""
    compiled()
    syn = Comparison("exec to first SYN", "ms", False, limits=LIMITS)
    refused = Comparison("exec to exit, refused port", "ms", False, limits=LIMITS)
    imports = Comparison("of it: importing (python -X importtime)", "ms", False)
    tools = {"netkat": NETKAT, "nc": ["nc.openbsd"]}
    with netns_pair("nkb") as pair:

        def starting(tool: str) -> None:
            first, whole = once(pair, [*tools[tool], pair.peer.ipv4, str(CLOSED)])
            syn.add(tool, first * 1000)
            refused.add(tool, whole * 1000)

        interleave(extent.runs * 2, {tool: partial(starting, tool) for tool in tools})
        for _ in range(extent.runs):
            for name, milliseconds in imported(pair).items():
                imports.add(name, milliseconds)
    return [syn, refused, imports]


def compiled() -> None:
    """Compile netkat's modules to bytecode, as pip does on installation.

    An editable installation has none, and this environment may keep Python from writing any.
    """
    package = Path(netkat.__file__).parent
    if not compileall.compile_dir(package, quiet=1):
        raise RuntimeError(f"{package} does not compile")


def once(pair: Pair, argv: list[str], **options: Any) -> tuple[float, float]:
    """Return the seconds from exec to the first SYN at the peer, and to the exit.

    ``options`` are Popen's.
    """
    tap = pair.peer.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    with tap:
        tap.bind((pair.peer.interface, 0x0800))
        tap.settimeout(20)
        begun = time.monotonic()
        with ended(start(pair.host, argv, **options)) as child:
            while not is_syn(tap.recv(2048)):
                pass
            first = time.monotonic() - begun
            child.wait(20)
            return first, time.monotonic() - begun


def is_syn(frame: bytes) -> bool:
    """Return whether a frame is an IPv4 SYN to the closed port."""
    return (
        len(frame) > TCP_FLAGS
        and frame[23] == socket.IPPROTO_TCP
        and frame[36:38] == CLOSED.to_bytes(2, "big")
        and frame[TCP_FLAGS] & 0x3F == SYN
    )


def imported(pair: Pair) -> dict[str, float]:
    """Return the milliseconds of imports by owner of the module (-X importtime slows them)."""
    argv = [NETKAT[0], pair.peer.ipv4, str(CLOSED)]
    environment = {"PYTHONPROFILEIMPORTTIME": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    output = run(pair.host, argv, stderr=subprocess.PIPE, env=environment).stderr
    spent: Counter[str] = Counter()
    for microseconds, module in _IMPORT.findall(output):
        package = module.partition(".")[0]
        spent[package if package in THIRD_PARTY else "Python's own"] += int(microseconds)
    return {name: total / 1000 for name, total in spent.most_common()}
