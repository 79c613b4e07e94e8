"""The kernel's data on a connection (TCP_INFO, SIOCINQ, SIOCOUTQ) in the stack's types."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from netkat.stack.facts import Info, State

_TCP_INFO = struct.Struct("=8B24I")
"""The oldest part of struct tcp_info (linux/tcp.h), up to tcpi_total_retrans. Its states
have the numbers of RFC 9293's in gVisor, from ESTABLISHED to CLOSING."""
_STATE, _RETRANSMITS = 0, 2
_RTO, _MSS, _RTT, _RTT_VAR, _CWND, _TOTAL_RETRANSMITS = 8, 10, 23, 24, 26, 31
_FIN_ACKED = {State.FIN_WAIT_2, State.TIME_WAIT, State.CLOSED}
_FIN_RECEIVED = {State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING, State.TIME_WAIT}


def state(opened: socket.socket) -> State:
    """Where a TCP socket is."""
    return State(_tcp_info(opened)[_STATE])


def round_trip(opened: socket.socket) -> int:
    """Smoothed, in microseconds: of the handshake, right after it."""
    return _tcp_info(opened)[_RTT]


def timeouts(opened: socket.socket) -> int:
    """How often what waits for an answer was sent again."""
    return _tcp_info(opened)[_RETRANSMITS]


def of_stream(opened: socket.socket, *, broken: bool, shut: bool, handshake: int) -> Info:
    """Of a TCP socket. ``broken``: a RST has ended it; ``shut``: our FIN is on its way."""
    words = _tcp_info(opened)
    now = State.ERROR if broken else State(words[_STATE])
    fin_acked = shut and now in _FIN_ACKED
    queued = _ioctl(opened, termios.TIOCOUTQ)
    return Info(
        state=now,
        rtt=words[_RTT],
        rtt_var=words[_RTT_VAR],
        rto=words[_RTO],
        cwnd=words[_CWND],
        mss=words[_MSS],
        retransmits=words[_TOTAL_RETRANSMITS],
        # The kernel counts a FIN as one byte.
        unacked=queued - (shut and not fin_acked and queued > 0),
        unread=_ioctl(opened, termios.FIONREAD),
        handshake=handshake,
        fin_acked=fin_acked,
        fin_received=now in _FIN_RECEIVED,
        # A kernel socket does not tell.
        peer_ttl=0,
        leaving=False,
    )


def of_datagrams(opened: socket.socket) -> Info:
    """Of a UDP socket: what waits to be read."""
    return Info(
        state=State.NONE,
        rtt=0,
        rtt_var=0,
        rto=0,
        cwnd=0,
        mss=0,
        retransmits=0,
        unacked=0,
        unread=_ioctl(opened, termios.FIONREAD),
        handshake=0,
        fin_acked=False,
        fin_received=False,
        peer_ttl=0,
        leaving=False,
    )


def _tcp_info(opened: socket.socket) -> tuple[int, ...]:
    raw = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return _TCP_INFO.unpack(raw.ljust(_TCP_INFO.size, b"\0"))


def _ioctl(opened: socket.socket, request: int) -> int:
    (value,) = struct.unpack("=i", fcntl.ioctl(opened, request, bytes(4)))
    return int(value)
