"""The bad network's losses are those of its seed."""

from __future__ import annotations

import socket
from typing import cast

from tests.helpers.forwarder import Link


class Port:
    """Stands for the socket that frames leave by."""

    def __init__(self, interface: str) -> None:
        self.interface, self.came = interface, b""

    def getsockname(self) -> tuple[str, int]:
        return self.interface, 0

    def send(self, frame: bytes) -> None:
        self.came += frame


def came(seed: int, answers: int) -> bytes:
    """What comes through of 200 frames, where so many go the other way after each."""
    there, back = Port("right"), Port("left")
    link = Link(loss=0.1, seed=seed)
    for number in range(200):
        link.take(bytes([number]), cast(socket.socket, there))
        for _ in range(answers):
            link.take(b"ack", cast(socket.socket, back))
    return there.came


def test_what_comes_back_changes_no_loss() -> None:
    assert came(3, 0) == came(3, 2)
    assert 150 < len(came(3, 0)) < 200


def test_another_seed_loses_others() -> None:
    assert came(3, 1) != came(4, 1)
