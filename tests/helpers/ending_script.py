"""The same events for any netcat: who sends what and closes when, and what comes of it.

::

    script = [Input(b"question\\n"), EndInput(), PeerReads(), Pause(1), PeerSays(b"answer")]
    outcomes = play_all(pair, {"ncat": 0, "netkat -q 5": 0}, script, stdin="pipe")

The peer is a kernel socket in the test's hand; the netcat's stdin a pipe, a file or
a terminal. Events happen one after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import socket
import struct
import subprocess
import sys
import threading
import time
import tty
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.netns import ROOT, Pair, end
from tests.helpers.peers import pattern

NETKAT = [sys.executable, "-m", "netkat"]
GOES_ON = 2.6
"""Seconds after the last event in which one that runs on has not ended: more than the
two that netkat leaves a quiet pipe."""
_LONG = 80.0
"""Seconds until what should come is not coming."""


@dataclass(frozen=True)
class Input:
    """Somebody writes to the netcat's stdin."""

    data: bytes


@dataclass(frozen=True)
class EndInput:
    """Nobody will write to it any more."""


@dataclass(frozen=True)
class Pause:
    """Nothing happens for some seconds."""

    seconds: float


@dataclass(frozen=True)
class PeerSays:
    """The peer sends."""

    data: bytes


@dataclass(frozen=True)
class PeerReads:
    """The peer reads this much; None: to the end."""

    count: int | None = None


@dataclass(frozen=True)
class PeerAnswersTheEnd:
    """The peer waits for the end of what it is sent, then for ``after`` seconds, and answers.

    One that is not told of the end within ``patience`` seconds says nothing.
    """

    data: bytes
    after: float = 1.0
    patience: float = _LONG


@dataclass(frozen=True)
class PeerFin:
    """The peer sends FIN, and may read on."""


@dataclass(frozen=True)
class PeerCloses:
    """The peer is gone: what comes now is answered with RST."""


@dataclass(frozen=True)
class PeerResets:
    """The peer sends RST."""


Event = (
    Input
    | EndInput
    | Pause
    | PeerSays
    | PeerReads
    | PeerAnswersTheEnd
    | PeerFin
    | PeerCloses
    | PeerResets
)


@dataclass(frozen=True)
class Outcome:
    """``code`` is None for one that runs on. ``peer_got`` is bytes; ``out`` what it printed."""

    code: int | None
    out: bytes
    peer_got: int
    whole: bool
    """What the peer got is the beginning of what was put in, byte for byte."""
    took: float
    """Seconds from before the last event to its end."""
    said: bytes


class Player:
    """One netcat, one peer, one script."""

    def __init__(self, pair: Pair, words: list[str], *, stdin: str | Path) -> None:
        self._listener = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0)))
        self._listener.settimeout(_LONG)
        port = self._listener.getsockname()[1]
        self._input, self._given, self._expected = _open_input(stdin)
        argv = [*(NETKAT if words[0] == "netkat" else words[:1]), *words[1:]]
        self._child: subprocess.Popen[bytes] = pair.host.popen(
            [*argv, pair.peer.ipv4, str(port)],
            cwd=ROOT,
            stdin=self._given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(self._given)
        self._got, self._whole = 0, True
        self._sums = hashlib.sha256()

    def play(self, script: list[Event], patience: float) -> Outcome:
        """All of it, and what came of it within ``patience`` seconds."""
        self._peer = self._listener.accept()[0]
        self._peer.settimeout(_LONG)
        said: list[bytes] = [b"", b""]
        readers = [
            threading.Thread(target=_collect, args=(stream, said, index))
            for index, stream in enumerate((self._child.stdout, self._child.stderr))
        ]
        for reader in readers:
            reader.start()
        try:
            for event in script:
                began = time.monotonic()
                self._happen(event)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(patience)
            took, code = time.monotonic() - began, self._child.returncode
        finally:
            self._child.kill()
            self._child.wait()
            for reader in readers:
                reader.join()
            self._close()
        return Outcome(code, said[0], self._got, self._is_beginning(), took, said[1])

    def _happen(self, event: Event) -> None:
        # One that has given up neither reads its input nor takes what the peer says.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            match event:
                case Input(data):
                    self._expected += data
                    view = memoryview(data)
                    while view:
                        view = view[os.write(self._input, view) :]
                case EndInput():
                    self._end_input()
                case Pause(seconds):
                    time.sleep(seconds)
                case PeerSays(data):
                    self._peer.sendall(data)
                case PeerReads(count):
                    self._read(count, _LONG)
                case PeerAnswersTheEnd(data, after, patience):
                    if self._read(None, patience):
                        time.sleep(after)
                        self._peer.sendall(data)
                case PeerFin():
                    self._peer.shutdown(socket.SHUT_WR)
                case PeerCloses():
                    self._peer.close()
                case PeerResets():
                    linger = struct.pack("ii", 1, 0)
                    self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self._peer.close()

    def _read(self, count: int | None, seconds: float) -> bool:
        """Whether the end came."""
        self._peer.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while count is None or self._got < count:
                data = self._peer.recv(1 << 20)
                if not data:
                    return True
                self._got += len(data)
                self._sums.update(data)
        return False

    def _is_beginning(self) -> bool:
        wanted = hashlib.sha256(self._expected[: self._got]).digest()
        return self._got <= len(self._expected) and wanted == self._sums.digest()

    def _end_input(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def _close(self) -> None:
        self._end_input()
        self._peer.close()
        self._listener.close()
        end(self._child)


def _open_input(stdin: str | Path) -> tuple[int, int, bytes]:
    """The end to write to (-1: none), the netcat's end, what is in it already."""
    if isinstance(stdin, Path):
        return -1, os.open(stdin, os.O_RDONLY), stdin.read_bytes()
    if stdin == "terminal":
        master, slave = pty.openpty()
        tty.setraw(slave)
        return master, slave, b""
    read, write = os.pipe()
    return write, read, b""


def _collect(stream: Any, said: list[bytes], index: int) -> None:
    said[index] = stream.read()


def play_all(
    pair: Pair, columns: dict[str, int | None], script: list[Event], *, stdin: str | Path
) -> dict[str, Outcome]:
    """The script with each netcat, all at the same time; ``columns`` has their exit codes.

    None is for one that runs on.
    """
    outcomes: dict[str, Outcome] = {}

    def run(column: str, code: int | None) -> None:
        patience = GOES_ON if code is None else _LONG
        outcomes[column] = Player(pair, column.split(), stdin=stdin).play(script, patience)

    threads = [threading.Thread(target=run, args=column) for column in columns.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def big_file(path: Path, size: int) -> Path:
    """``size`` bytes that are nowhere the same as elsewhere."""
    block = pattern(1 << 20)
    with path.open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
        file.write(block[: size & 0xFFFFF])
    return path
