"""A packet socket that wakes for every TCP connection this host begins, and keeps nothing of it."""

from __future__ import annotations

import socket

from netkat.closing import Closing
from netkat.wire.ring import attach_filter, bind_everywhere, open_socket

_NET = 0xFFF00000  # SKF_NET_OFF: from the network header on
_PACKET_TYPE = 0xFFFFF000 + 4
_LD_W, _LD_B, _LD_B_IND, _LDX_MSH = 0x20, 0x30, 0x50, 0xB1
_AND, _JEQ, _RET = 0x54, 0x15, 0x06

FILTER = [
    (_LD_W, 0, 0, _PACKET_TYPE),
    (_JEQ, 0, 16, 4),  # PACKET_OUTGOING
    (_LD_B, 0, 0, _NET),
    (_AND, 0, 0, 0xF0),
    (_JEQ, 0, 7, 0x40),
    (_LD_B, 0, 0, _NET + 9),
    (_JEQ, 0, 11, 6),
    (_LDX_MSH, 0, 0, _NET),
    (_LD_B_IND, 0, 0, _NET + 13),
    (_AND, 0, 0, 0x12),
    (_JEQ, 0, 7, 0x02),
    (_RET, 0, 0, 1),
    (_JEQ, 0, 5, 0x60),
    (_LD_B, 0, 0, _NET + 6),
    (_JEQ, 0, 3, 6),
    (_LD_B, 0, 0, _NET + 40 + 13),
    (_AND, 0, 0, 0x12),
    (_JEQ, 1, 0, 0x02),
    (_RET, 0, 0, 0),
    (_RET, 0, 0, 1),
]
"""Outgoing TCP with SYN and without ACK, IPv4 and IPv6; of each one byte."""

_DRAIN = 4096


class SynWatch(Closing):
    """Polls readable after such a segment. Opened in the calling thread's namespace.

    Errors: MissingCapability, SetupError.
    """

    def __init__(self) -> None:
        self._socket = open_socket()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            attach_filter(self._socket, FILTER)
            bind_everywhere(self._socket)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def take(self) -> bool:
        """Whether there was one since the last call."""
        seen = False
        for _ in range(_DRAIN):
            try:
                self._socket.recv(1)
            except OSError:
                break
            seen = True
        return seen

    def close(self) -> None:
        """Close; more than once is once."""
        self._socket.close()
