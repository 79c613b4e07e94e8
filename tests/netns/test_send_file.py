"""A file as standard input: the library reads it while another of its threads sends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer

RST_ON_CLOSE = struct.pack("ii", 1, 0)
NETKAT = [sys.executable, "-m", "netkat"]
SIZE = 200 << 20


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sent") / "file"
    block = os.urandom(1 << 20)
    with path.open("wb") as out:
        for number in range(SIZE >> 20):
            out.write(number.to_bytes(4, "big") + block[4:])
    return path


def start(pair: Pair, stdin: int, *arguments: object) -> subprocess.Popen[bytes]:
    argv = [*NETKAT, *map(str, arguments)]
    return pair.host.popen(
        argv, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(child: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Exit code, stderr."""
    _, said = child.communicate(timeout=60)
    return child.returncode, said


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("way", ["file", "pipe"])
def test_much_arrives_as_it_is(pair: Pair, file: Path, version: int, way: str) -> None:
    whole = hashlib.sha256(file.read_bytes()).hexdigest()
    with peer(pair.peer, "tcp-sink") as sink:
        if way == "file":
            with file.open("rb") as source:
                child = start(pair, source.fileno(), pair.peer.address(version), sink.port)
        else:
            with subprocess.Popen(["cat", file], stdout=subprocess.PIPE) as cat:
                assert cat.stdout is not None
                child = start(pair, cat.stdout.fileno(), pair.peer.address(version), sink.port)
                cat.stdout.close()
        assert ended(child) == (0, b"")
        came = sink.event("closed")
    assert (came["bytes"], came["sha256"]) == (SIZE, whole)


class Reader:
    """A kernel socket that reads when it is told to."""

    def __init__(self, pair: Pair) -> None:
        self._listener = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0)))
        self.port = self._listener.getsockname()[1]
        self._listener.settimeout(20)

    def accept(self) -> socket.socket:
        conn, _ = self._listener.accept()
        self._listener.close()
        conn.settimeout(20)
        return conn


def standing(source: int) -> int:
    """Where the offset, which is shared, comes to a stop: the window is full."""
    before, end = -1, time.monotonic() + 20
    while (now := os.lseek(source, 0, os.SEEK_CUR)) != before or not now:
        assert time.monotonic() < end
        before = now
        time.sleep(0.5)
    return now


def test_a_file_that_shrinks_meanwhile_ends_there(pair: Pair, tmp_path: Path) -> None:
    path, left = tmp_path / "file", 100 << 20
    path.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    whole, reader = path.read_bytes(), Reader(pair)
    with path.open("rb") as source:
        child = start(pair, source.fileno(), pair.peer.ipv4, reader.port)
        with reader.accept() as conn:
            assert 0 < standing(source.fileno()) < left
            os.truncate(path, left)
            got = b"".join(iter(lambda: conn.recv(1 << 20), b""))
    assert ended(child) == (0, b"")
    assert len(got) == left
    assert hashlib.sha256(got).digest() == hashlib.sha256(whole[:left]).digest()


def test_a_reset_in_the_middle_is_told_with_the_count(pair: Pair, file: Path) -> None:
    reader, came = Reader(pair), 0
    with file.open("rb") as source:
        child = start(pair, source.fileno(), pair.peer.ipv4, reader.port)
        with reader.accept() as conn:
            while came < 50 << 20:
                came += len(conn.recv(1 << 20))
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        code, said = ended(child)
        read = os.lseek(source.fileno(), 0, os.SEEK_CUR)
    assert code == 1
    sent = re.search(rb"Connection reset by peer .* and (\d+) sent", said)
    assert sent is not None, said
    found = re.search(rb"; (\d+) bytes not acknowledged", said)
    missing = int(found[1]) if found is not None else 0
    # What was read and never sent is in the count; what the peer's kernel had taken, and nobody
    # read, is delivered.
    assert read - int(sent[1]) <= missing <= read - came, said


@pytest.mark.parametrize("full", [True, False], ids=["full window", "in full flow"])
def test_a_signal_in_the_middle(pair: Pair, file: Path, full: bool) -> None:
    reader = Reader(pair)
    with file.open("rb") as source:
        child = start(pair, source.fileno(), pair.peer.ipv4, reader.port)
        with reader.accept() as conn:
            if full:
                standing(source.fileno())
            else:
                reading = threading.Thread(target=slowly, args=(conn,))
                reading.start()
                time.sleep(0.3)
            begun = time.monotonic()
            child.send_signal(signal.SIGINT)
            code, said = ended(child)
            took = time.monotonic() - begun
            if not full:
                reading.join()
        assert os.lseek(source.fileno(), 0, os.SEEK_CUR) < SIZE
    assert code == 130
    assert took < 2
    assert b"Traceback" not in said


def slowly(conn: socket.socket) -> None:
    try:
        while conn.recv(1 << 18):
            time.sleep(0.01)
    except ConnectionResetError:
        pass


def test_a_disk_error_is_named(pair: Pair) -> None:
    """/proc/self/mem is a regular file of which nothing is mapped where it begins: EIO."""
    reader = Reader(pair)
    with open("/proc/self/mem", "rb") as source:
        child = start(pair, source.fileno(), pair.peer.ipv4, reader.port)
        with reader.accept():
            code, said = ended(child)
    assert code == 1
    assert said.startswith(b"netkat: cannot read standard input: Input/output error"), said
    assert b"Traceback" not in said
