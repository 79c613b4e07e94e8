"""A bad network: one process between two namespaces that loses, delays and reorders frames.

    with impaired_pair("nkx", loss=0.02, delay=0.005, reorder=0.05, seed=7) as pair:
        ...            # pair.host and pair.peer as in netns_pair
        pair.extra["forwarder"].statistics()

It owns a namespace with a veth to each end and copies frames between two
AF_PACKET sockets. Offloads are off at both ends: a frame is what would be on a
cable, so one loss is one packet.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import itertools
import json
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.netns import (
    Namespace,
    Pair,
    configure,
    end,
    join,
    make_ends,
    new_name,
    prepare,
    wait_usable,
    without_offloads,
)

SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3


class Forwarder:
    """The process, seen from the test."""

    def __init__(self, child: subprocess.Popen[Any]) -> None:
        assert child.stdin is not None and child.stdout is not None
        self._child, self._in, self._out = child, child.stdin, child.stdout
        assert self._line()["event"] == "ready"

    def statistics(self) -> dict[str, int]:
        """{"forwarded", "lost", "reordered", "duplicated"} so far."""
        return self._ask("statistics")

    def change(self, **impairment: float) -> None:
        """Change loss, delay, jitter, reorder or duplicate from now on."""
        self._ask(json.dumps(impairment))

    def _ask(self, line: str) -> dict[str, Any]:
        self._in.write(line.encode() + b"\n")
        self._in.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        ready = select.select([self._out], [], [], 10)[0]
        line = self._out.readline() if ready else b""
        assert line, f"the forwarder says nothing ({self._child.poll()})"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def impaired_pair(
    prefix: str = "nk",
    *,
    loss: float = 0.0,
    delay: float = 0.0,
    jitter: float = 0.0,
    reorder: float = 0.0,
    duplicate: float = 0.0,
    seed: int = 1,
    mtu: int = 1500,
    net: int = 98,
) -> Iterator[Pair]:
    """A pair with a bad network between. Shares are 0 … 1, times in seconds, each way."""
    with ExitStack() as undo:
        pair = make_ends(undo, prefix, net)
        middle = Namespace(new_name(prefix, "middle"))
        undo.callback(middle.close)
        prepare(middle)
        # No IPv6 in the middle: it must not add packets of its own.
        middle.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        for side, name in ((pair.host, "left"), (pair.peer, "right")):
            join(side, middle, b_name=name, mtu=mtu)
            configure(side)
            without_offloads(side, side.interface)
            without_offloads(middle, name)
            middle.ip(f"link set dev {name} promisc on up")
        for side in (pair.host, pair.peer):
            wait_usable(side, side.interface)
        impairment = {"loss": loss, "delay": delay, "jitter": jitter, "reorder": reorder}
        impairment |= {"duplicate": duplicate, "seed": seed}
        child = middle.python(
            "tests.helpers.forwarder",
            json.dumps(impairment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        undo.callback(end, child)
        pair.extra.update(forwarder=Forwarder(child), middle=middle)
        yield pair


# What follows runs in the child.


@dataclass
class Link:
    """Both directions: what is to be done to a frame, and the frames that still wait."""

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    seed: int = 1
    waiting: list[tuple[float, int, socket.socket, bytes]] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("forwarded", "lost", "reordered", "duplicated"), 0)
    )

    def __post_init__(self) -> None:
        self.randoms: dict[str, random.Random] = {}
        self.serial = itertools.count()

    def take(self, frame: bytes, out: socket.socket) -> None:
        """Decide on one frame."""
        chance = self.chance(out)
        if chance() < self.loss:
            self.counts["lost"] += 1
            return
        when = self.delay + chance() * self.jitter
        if chance() < self.reorder:
            self.counts["reordered"] += 1
            when += max(self.delay, 0.002)
        copies = 1
        if chance() < self.duplicate:
            self.counts["duplicated"] += 1
            copies = 2
        for _ in range(copies):
            entry = (time.monotonic() + when, next(self.serial), out, frame)
            if when:
                heapq.heappush(self.waiting, entry)
            else:
                self.put(frame, out)

    def chance(self, out: socket.socket) -> Callable[[], float]:
        """Numbers of its own each way: what is sent fares alike, whatever comes back meanwhile."""
        interface = out.getsockname()[0]
        if interface not in self.randoms:
            self.randoms[interface] = random.Random(f"{self.seed} {interface}")
        return self.randoms[interface].random

    def put(self, frame: bytes, out: socket.socket) -> None:
        """Send one frame; a full device queue is a loss, as it is in a switch."""
        try:
            out.send(frame)
            self.counts["forwarded"] += 1
        except OSError:
            self.counts["lost"] += 1

    def release(self) -> float | None:
        """Send what is due; seconds until the next."""
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            _, _, out, frame = heapq.heappop(self.waiting)
            self.put(frame, out)
        return max(0.0, self.waiting[0][0] - now) if self.waiting else None


def packet_socket(interface: str) -> socket.socket:
    """Every frame that comes in on an interface."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    tap.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    tap.bind((interface, ETH_P_ALL))
    tap.setblocking(False)
    return tap


def obey(link: Link, line: str) -> None:
    """One line of the test's."""
    if line.strip() != "statistics":
        for name, value in json.loads(line).items():
            setattr(link, name, value)
    print(json.dumps(link.counts), flush=True)


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser()
    parser.add_argument("impairment", type=json.loads)
    link = Link(**parser.parse_args().impairment)
    a, b = packet_socket("left"), packet_socket("right")
    other = {a: b, b: a}
    print(json.dumps({"event": "ready"}), flush=True)
    while True:
        ready = select.select([a, b, sys.stdin], [], [], link.release())[0]
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            obey(link, line)
        for tap in (a, b):
            if tap in ready:
                forward(link, tap, other[tap])


def forward(link: Link, tap: socket.socket, out: socket.socket) -> None:
    """Take some of the frames that wait."""
    for _ in range(64):
        try:
            frame = tap.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # reported once, and the socket works on afterwards
                raise
            return
        link.take(frame, out)


if __name__ == "__main__":
    main()
