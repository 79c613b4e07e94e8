"""Status lines in the format of OpenBSD nc, with the cause in brackets."""

from __future__ import annotations

import socket
from typing import NamedTuple

from netkat.flow import IPAddress, Protocol


class Target(NamedTuple):
    """The destination of an attempt: the host as given, and its address.

    With a ``proxy`` the proxy resolves the host, and ``address`` is the proxy's.
    """

    host: str
    address: IPAddress
    port: int
    protocol: Protocol
    numeric: bool = False
    role: str = ""
    """What the host is, if it is not the destination: ``the proxy``."""
    proxy: Target | None = None

    @property
    def where(self) -> str:
        """``10.9.0.2``, or ``node2 (10.9.0.2)``."""
        address = str(self.address)
        plain = self.proxy is not None or self.host == address
        host = self.host if plain else f"{self.host} ({address})"
        return f"{self.role} {host}" if self.role else host

    @property
    def _place(self) -> str:
        through = "" if self.proxy is None else f" through {self.proxy._place}"
        return f"{self.where} port {self.port}{through}"

    @property
    def service(self) -> str:
        """The service name of the port, ``*`` if it has none."""
        if self.numeric:
            return "*"
        try:
            return socket.getservbyport(self.port, str(self.protocol))
        except OSError:
            return "*"

    def succeeded_line(self) -> str:
        """Return the line of a successful connection."""
        return (
            f"Connection to {self.where} {self.port} port"
            f" [{self.protocol}/{self.service}] succeeded!"
        )

    def ready_line(self) -> str:
        """Return the line of a UDP socket: UDP has no handshake."""
        return (
            f"Sending UDP to {self.where} {self.port} port [{self.protocol}/{self.service}];"
            " no reply yet"
        )

    def failed_line(self, message: str) -> str:
        """Return the line of a failed attempt, with its cause."""
        return f"connect to {self._place} ({self.protocol}) failed: {message}"

    def no_reply_line(self, sent: int) -> str:
        """Return the line of a UDP port without a reply: it may be open."""
        return (
            f"connect to {self.where} port {self.port} ({self.protocol}):"
            f" no answer (open or filtered) [no reply to {datagrams(sent)}]"
        )

    def ended_line(self, message: str) -> str:
        """Return the line for an error of an open connection."""
        return f"{self._place} ({self.protocol}): {message}"


def datagrams(count: int) -> str:
    """``1 datagram``, ``3 datagrams``."""
    return f"{count} datagram{'' if count == 1 else 's'}"


def idle_line(seconds: float | None) -> str:
    """Return the line for an idle timeout."""
    return f"netkat: idle timeout: no data for {seconds:g} s, closing"
