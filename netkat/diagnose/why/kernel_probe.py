"""The kernel's own connection to the target, and what the kernel says of it."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import ip_address

from netkat.diagnose.why.evidence import Probe, endpoint
from netkat.diagnose.why.icmp import icmp_name
from netkat.diagnose.why.sock_diag import real_peer
from netkat.errors import SetupError
from netkat.flow import IPAddress, Protocol
from netkat.host.routes import address_family
from netkat.resources import Closeable

_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ERROR = struct.Struct("=IBBBxII")
_ORIGIN_LOCAL, _ORIGIN_ICMP, _ORIGIN_ICMP6 = 1, 2, 3
_TCP_INFO = 11
_RTT_AT, _RETRANSMITS_AT = 68, 100
"""tcpi_rtt (µs) and tcpi_total_retrans in struct tcp_info."""
_TRIES = 16
_PROHIBITED = {(2, 9), (2, 10), (2, 13), (3, 1), (3, 5)}
"""Origin and code of ICMP(v6) destination unreachable that mean a rule."""


class KernelProbe(Closeable):
    """A socket with a source port that conntrack does not know, so that NAT rules see it."""

    def __init__(
        self,
        protocol: Protocol,
        address: IPAddress,
        port: int,
        fresh: Callable[[int], bool],
    ) -> None:
        self._protocol, self._to = protocol, (str(address), port)
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        for _ in range(_TRIES):
            self._socket = socket.socket(address_family(address), kind | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._socket.bind(("", 0))
            if fresh(self.port):
                break
            self._socket.close()
        else:
            raise SetupError("no local port is free of conntrack entries to this destination")
        level, option = (
            (socket.IPPROTO_IP, _IP_RECVERR)
            if address.version == 4
            else (socket.IPPROTO_IPV6, _IPV6_RECVERR)
        )
        self._socket.setsockopt(level, option, 1)
        self._begun = 0.0
        self._peer = self._reported = ""
        self._first_error = 0

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._socket.getsockname()[1])

    def start(self, payload: bytes = b"") -> None:
        """Send the SYN, or the datagram."""
        self._begun = time.monotonic()
        self._first_error = self._socket.connect_ex(self._to)
        if self._first_error in (0, errno.EINPROGRESS):
            self._peer = _peer(self._socket)
        if self._protocol is Protocol.UDP and not self._first_error:
            try:
                self._socket.send(payload)
            except OSError as error:
                self._first_error = error.errno or errno.EIO

    def settled(self, until: float) -> bool:
        """Wait until a time of the monotonic clock; whether the outcome is known by then."""
        if self._first_error not in (0, errno.EINPROGRESS):
            return True
        wanted = select.POLLOUT if self._protocol is Protocol.TCP else select.POLLIN
        poll = select.poll()
        poll.register(self._socket, wanted | select.POLLERR)
        return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))

    def result(self) -> Probe:
        """The outcome so far; no answer where there is none."""
        seconds = time.monotonic() - self._begun
        settled = self.settled(0)
        code = self._first_error
        if code in (0, errno.EINPROGRESS):
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        origin, icmp_type, icmp_code, sender = self._queued_error()
        outcome = "connected" if settled and not code else _OUTCOMES.get(code, "failed")
        if not settled:
            outcome = "no_answer"
        reason = os.strerror(code) if code else ""
        if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
            version = 4 if origin == _ORIGIN_ICMP else 6
            reason = f"ICMP {icmp_name(version, icmp_type, icmp_code)}"
            if (origin, icmp_code) in _PROHIBITED:
                outcome = "rejected"
        local = self._socket.getsockname()
        if outcome == "connected":
            self._reported = endpoint(*self._socket.getpeername()[:2])
            self._peer = _peer(self._socket) or self._peer
            seconds = self._information(_RTT_AT) / 1e6 or seconds
        return Probe(
            outcome,
            seconds=round(seconds, 6),
            source=str(local[0]),
            source_port=local[1],
            sent=self._sent(),
            peer=self._peer,
            reported_peer=self._reported,
            sender=sender,
            reason=reason,
        )

    def close(self) -> None:
        """Close; an established connection is reset, so that it leaves no TIME-WAIT."""
        if self._protocol is Protocol.TCP:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        self._socket.close()

    def _queued_error(self) -> tuple[int, int, int, str]:
        try:
            _, control, _, _ = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return 0, 0, 0, ""
        for _, kind, data in control:
            if kind not in (_IP_RECVERR, _IPV6_RECVERR):
                continue
            _, origin, icmp_type, icmp_code, _, _ = _ERROR.unpack_from(data)
            return origin, icmp_type, icmp_code, _offender(data[_ERROR.size :])
        return 0, 0, 0, ""

    def _sent(self) -> int:
        return 1 + self._information(_RETRANSMITS_AT)

    def _information(self, offset: int) -> int:
        """A number of struct tcp_info; 0 for UDP."""
        try:
            information = self._socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256)
            return int(struct.unpack_from("=I", information, offset)[0])
        except (OSError, struct.error):
            return 0


_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "no_answer",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "rejected",
    errno.EPERM: "not_permitted",
}


def _peer(probe: socket.socket) -> str:
    try:
        return real_peer(probe)
    except OSError:
        return ""


def _offender(data: bytes) -> str:
    if len(data) >= 8 and struct.unpack_from("=H", data)[0] == socket.AF_INET:
        return str(ip_address(data[4:8]))
    if len(data) >= 24 and struct.unpack_from("=H", data)[0] == socket.AF_INET6:
        return str(ip_address(data[8:24]))
    return ""
