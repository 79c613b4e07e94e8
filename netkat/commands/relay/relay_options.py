"""Options of a relay: conversions of the data, and when it ends."""

from __future__ import annotations

import math
from typing import NamedTuple

FOR_EVER = math.inf

DATAGRAM_SIZE = 1400
"""Fits a path MTU of 1,500 beneath a tunnel; other netcats read at most 2,048 to 16,384 bytes."""


class RelayOptions(NamedTuple):
    """Times are in seconds.

    ``linger``: time after EOF on stdin; None is the protocol's default (TCP: until the peer's
    FIN), FOR_EVER waits for the peer. ``idle``: time without data until the relay ends.
    """

    shutdown: bool = True
    """Send FIN after EOF on stdin."""
    fin_requested: bool = False
    """Send FIN after EOF also if stdin is the null device."""
    linger: float | None = None
    idle: float | None = None
    receive_limit: int | None = None
    """End after this number of datagrams from the peer."""
    send_only: bool = False
    """Discard received data and do not wait for more."""
    datagram_size: int = DATAGRAM_SIZE
    """Most bytes of input in one datagram."""
    interval: float = 0.0
    """Time between lines of input; above 0 each line is sent separately."""
    crlf: bool = False
    """Send CRLF for a LF without a CR."""
    telnet: bool = False
    """Refuse each option of a Telnet negotiation (RFC 854) and do not output it."""
    output: str | None = None
    """File for the data of both directions."""
    hex_dump: str | None = None
    append: bool = False
    """Append to both files."""
    progress: bool = False
    """Show a progress line on stderr, if it is a terminal."""
    json: bool = False
    """Print a line of JSON on stderr at the end of each connection."""


PLAIN = RelayOptions()
