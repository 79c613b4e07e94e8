"""Much is sent at once: it is copied and sent by pieces, the last while the program is away.

What arrives must be what was sent, also where the program writes to its memory after each
call, where the send buffer is small, the peer reads slowly, or segments are lost.
"""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import pytest

from tests.helpers.netns import ROOT, Pair, netns_pair

SENDER = """
import hashlib, random, socket, sys, time
import netkat
host, port, size, count, pause, room = sys.argv[1], *map(int, sys.argv[2:7])
digest, rest = hashlib.sha256(), random.Random(5)
with netkat.create_connection((host, port), timeout=60) as conn:
    if room:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    block = bytearray(size)
    for _ in range(count):
        n = rest.randrange(size // 2, size)
        block[:n] = rest.randbytes(n)
        digest.update(memoryview(block)[:n])
        conn.sendall(memoryview(block)[:n])
        block[:] = bytes(size)  # whoever still sends from this memory sends zeros
        time.sleep(pause / 1000)
    print(conn.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
print(digest.hexdigest())
"""

MIB = 1 << 20


class Outcome(NamedTuple):
    buffer: int
    """The size of the send buffer at the end."""
    alone: float
    """Seconds between the last bytes and the end."""


def sent(
    pair: Pair, *, size: int, count: int, pause: int = 0, room: int = 0, slowly: bool = False
) -> Outcome:
    """Send, and compare."""
    listener = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0)))
    digest = hashlib.sha256()
    times = [0.0]

    def serve() -> None:
        with listener:
            conn, _ = listener.accept()
        with conn:
            while data := conn.recv(1 << 18):
                digest.update(data)
                times[0] = time.monotonic()
                if slowly:
                    time.sleep(0.001)
            times.append(time.monotonic())

    server = threading.Thread(target=serve)
    server.start()
    port = listener.getsockname()[1]
    argv = [sys.executable, "-c", SENDER, pair.peer.ipv4, port, size, count, pause, room]
    sender = pair.host.popen(
        [*map(str, argv)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, said = sender.communicate(timeout=100)
    server.join(60)
    assert sender.returncode == 0, said
    buffer, expected = out.split()
    assert digest.hexdigest() == expected
    return Outcome(int(buffer), times[1] - times[0])


@pytest.mark.parametrize("pause", [0, 4])
def test_what_arrives_is_what_was_sent(path: tuple[str, Pair], pause: int) -> None:
    name, pair = path
    if name == "clean":
        sent(pair, size=12 * MIB, count=12, pause=pause)
    else:
        sent(pair, size=MIB, count=4, pause=pause)


@pytest.mark.parametrize("room", [4096, 100_000, 3 * MIB])
def test_the_send_buffer_stays_as_the_program_has_it(room: int) -> None:
    with netns_pair("nks") as pair:
        many = 10 if room > MIB else 1
        assert sent(pair, size=many * MIB, count=5, pause=3, room=room).buffer == room


def test_a_peer_that_reads_slowly_has_all_of_it() -> None:
    with netns_pair("nks") as pair:
        sent(pair, size=12 * MIB, count=8, pause=3, slowly=True)


def test_what_was_left_is_sent_while_the_program_is_away() -> None:
    with netns_pair("nks") as pair:
        outcome = sent(pair, size=12 * MIB, count=2, pause=1500)
    assert outcome.buffer > 12 * MIB, "it is one that is away now and again"
    assert outcome.alone > 1.0
