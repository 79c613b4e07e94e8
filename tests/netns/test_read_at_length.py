"""Large reads return what was sent.

Also if segments are lost, duplicated or reordered, if two threads read the same connection, and if
the program writes to its buffer between reads.
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair

READER = """
import sys, threading
import netkat
host, port, threads, size = sys.argv[1], *map(int, sys.argv[2:5])
whole = open(sys.argv[5], "rb").read()
pieces, lock = [], threading.Lock()
def read(conn):
    buffer = bytearray(size)
    while count := conn.recv_into(buffer):
        piece = bytes(buffer[:count])
        buffer[:] = bytes(size)  # whoever still reads this memory reads zeros
        with lock:
            pieces.append(piece)
with netkat.create_connection((host, port), timeout=30) as conn:
    readers = [threading.Thread(target=read, args=(conn,)) for _ in range(threads)]
    for reader in readers: reader.start()
    for reader in readers: reader.join()
if threads == 1:
    assert b"".join(pieces) == whole, "other bytes"
else:
    # Each piece lies somewhere in it; together they are all of it, once.
    find = lambda piece: whole.find(piece[:64]) if len(piece) > 64 else whole.rfind(piece)
    found, at = sorted((find(piece), piece) for piece in pieces), 0
    for start, piece in found:
        assert start == at and whole[start : start + len(piece)] == piece, (start, at, len(piece))
        at += len(piece)
    assert at == len(whole), at
print(len(pieces))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_read_is_what_was_sent(
    path: tuple[str, Pair], threads: int, tmp_path: Path
) -> None:
    name, pair = path
    sent = random.Random(threads).randbytes((96 if name == "clean" else 3) << 20)
    file = tmp_path / "sent"
    file.write_bytes(sent)
    listener = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0)))

    def serve() -> None:
        with listener, contextlib.suppress(OSError):
            conn, _ = listener.accept()
            with conn:
                conn.sendall(sent)

    server = threading.Thread(target=serve)
    server.start()
    port = listener.getsockname()[1]
    argv = [sys.executable, "-c", READER, pair.peer.ipv4, port, threads, 1 << 20, file]
    reader = pair.host.popen(
        [*map(str, argv)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, said = reader.communicate(timeout=100)
    server.join(20)
    assert reader.returncode == 0, said
    assert int(out) > 1
