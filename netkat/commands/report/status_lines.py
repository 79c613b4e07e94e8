"""The words that netcat's users and their scripts know, with the cause in brackets."""

from __future__ import annotations

import socket
from typing import NamedTuple

from netkat.flow import IPAddress, Protocol


class Target(NamedTuple):
    """Where an attempt went: the host as it was written, and the address it stands for.

    Behind a ``proxy`` the host is the proxy's to find, and ``address`` the proxy's own.
    """

    host: str
    address: IPAddress
    port: int
    protocol: Protocol
    numeric: bool = False
    role: str = ""
    """What the host is, where it is not the destination: ``the proxy``."""
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
        """The port's name by the system, ``*`` where it has none."""
        if self.numeric:
            return "*"
        try:
            return socket.getservbyport(self.port, str(self.protocol))
        except OSError:
            return "*"

    def succeeded_line(self) -> str:
        """As nc says it."""
        return (
            f"Connection to {self.where} {self.port} port"
            f" [{self.protocol}/{self.service}] succeeded!"
        )

    def ready_line(self) -> str:
        """UDP has no handshake: nobody has answered yet."""
        return (
            f"Datagrams go to {self.where} {self.port} port [{self.protocol}/{self.service}];"
            " nobody has answered yet"
        )

    def failed_line(self, message: str) -> str:
        """As nc says it, with what netkat knows of the cause."""
        return f"connect to {self._place} ({self.protocol}) failed: {message}"

    def no_reply_line(self, sent: int) -> str:
        """A UDP port that says nothing may be open as well."""
        return (
            f"connect to {self.where} port {self.port} ({self.protocol}):"
            f" no answer (open or filtered) [no reply to {datagrams(sent)}]"
        )

    def ended_line(self, message: str) -> str:
        """A connection that had been open."""
        return f"{self._place} ({self.protocol}): {message}"


def datagrams(count: int) -> str:
    """``1 datagram``, ``3 datagrams``."""
    return f"{count} datagram{'' if count == 1 else 's'}"


def idle_line(seconds: float | None) -> str:
    """-w has ended it."""
    return f"netkat: nothing moved for {seconds:g} s, ending"
