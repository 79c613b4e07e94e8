"""The result of one connection: the summary of -v, and a line of JSON.

docs/json/connection.schema.json describes the JSON.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from netkat.errors import NetkatError

if TYPE_CHECKING:
    from netkat.commands.relay.relay import Relay
    from netkat.commands.relay.stop_rules import StopReason
    from netkat.commands.report.status_lines import Target
    from netkat.conn import AnyConnection

VERSION = 1


class ConnectionReport:
    """Filled in during the connection; unknown values stay None."""

    local: dict[str, Any] | None = None
    remote: dict[str, Any] | None = None
    sent: int | None = None
    received: int | None = None
    handshake_us: int | None = None
    rtt_us: int | None = None
    mss: int | None = None
    peer_ttl: int | None = None
    retransmits: int | None = None
    end_reason: str | None = None
    error: dict[str, Any] | None = None

    def __init__(self, command: str, protocol: str, host: str | None = None) -> None:
        self.command, self.protocol, self.host = command, protocol, host
        self.began = time.monotonic()
        self.messages: list[str] = []

    def set_connection(self, conn: AnyConnection) -> None:
        """Record the addresses of the connection and its start time."""
        self.began = time.monotonic()
        self.local, self.remote = _end(conn.getsockname()), _end(conn.getpeername())

    def set_peer(self, address: tuple[Any, ...]) -> None:
        """Record the peer of a shared UDP socket."""
        self.began = time.monotonic()
        self.remote = _end(address)

    def set_failed_attempt(self, target: Target, error: NetkatError) -> None:
        """Record the most relevant failed attempt."""
        peer = target.proxy or target
        self.remote = {"address": str(peer.address), "port": peer.port}
        self.set_error(error)

    def set_transfer(self, relay: Relay, reason: StopReason | None) -> None:
        """Record the byte counts and why the relay ended; None for an error."""
        self.sent, self.received = relay.sent, relay.received
        self.end_reason = None if reason is None else reason.value

    def read_stats(self, conn: AnyConnection) -> None:
        """Record the statistics of the stack. Call it before the connection is closed."""
        try:
            info = conn.info()
        except (NetkatError, OSError):
            return
        self.peer_ttl = info.peer_ttl or None
        if info.mss:
            self.handshake_us, self.rtt_us = info.handshake or None, info.rtt or None
            self.mss, self.retransmits = info.mss, info.retransmits

    def set_error(self, error: Exception) -> None:
        """Record the error that prevented or ended the connection."""
        self.error = error_as_dict(error)

    def add_message(self, line: str) -> None:
        """Record a line that --json keeps off stderr."""
        self.messages.append(line)

    def to_json(self) -> str:
        """Return the report as one line of JSON."""
        known = {
            "version": VERSION,
            "command": self.command,
            "protocol": self.protocol,
            "host": self.host,
            "local": self.local,
            "remote": self.remote,
            "seconds": round(time.monotonic() - self.began, 6),
            "sent": self.sent,
            "received": self.received,
            "handshake_us": self.handshake_us,
            "rtt_us": self.rtt_us,
            "mss": self.mss,
            "peer_ttl": self.peer_ttl,
            "retransmits": self.retransmits,
            "end_reason": self.end_reason,
            "error": self.error,
            "messages": self.messages,
        }
        import json

        return json.dumps(known)

    def summary_lines(self, verbosity: int) -> list[str]:
        """Return the last lines of -v and -vv."""
        if not verbosity:
            return []
        lines = [f"netkat: {self.sent} bytes sent, {self.received} received"]
        facts = [f"{(time.monotonic() - self.began) * 1000:.3g} ms"]
        if self.handshake_us:
            facts.append(f"handshake {self.handshake_us / 1000:g} ms")
        if self.rtt_us:
            facts.append(f"rtt {self.rtt_us / 1000:g} ms")
        if self.mss:
            facts.append(f"mss {self.mss}")
        if self.peer_ttl:
            facts.append(f"peer ttl {self.peer_ttl}")
        if self.retransmits is not None:
            facts.append(f"retransmits {self.retransmits}")
        return lines + ([f"netkat: {', '.join(facts)}"] if verbosity > 1 else [])


def error_as_dict(error: Exception) -> dict[str, Any]:
    """Return an error as it is in the JSON of every command."""
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "hint": error.hint if isinstance(error, NetkatError) else None,
        "details": _details(error),
    }


def _details(error: Exception) -> dict[str, Any]:
    """Return the fields of an error: sender and TTL of the RST, number of lost bytes."""
    return {
        name: value if isinstance(value, int | float | str) else str(value)
        for name, value in vars(error).items()
        if name not in ("message", "hint") and not name.startswith("_") and value is not None
    }


def _end(address: tuple[Any, ...]) -> dict[str, Any]:
    return {"address": address[0], "port": address[1]}
