"""What may be asked of a relay: how bytes are changed on their way, and when it is over."""

from __future__ import annotations

import math
from typing import NamedTuple

FOR_EVER = math.inf

DATAGRAM_SIZE = 1400
"""Fits a path MTU of 1,500 beneath a tunnel; other netcats read at most 2,048 to 16,384 bytes."""


class RelayOptions(NamedTuple):
    """Times are in seconds.

    ``linger`` is how long the relay goes on after the end of input: None is the
    protocol's own way (TCP: until the peer's FIN), FOR_EVER waits for the peer alone.
    ``idle`` ends it when nothing moved for that long; None never does.
    """

    shutdown: bool = True
    """The end of input sends FIN."""
    fin_requested: bool = False
    """The end of input sends FIN also where the input is the null device."""
    linger: float | None = None
    idle: float | None = None
    receive_limit: int | None = None
    """So many datagrams from the peer end it."""
    send_only: bool = False
    """What the peer sends is read and thrown away, and not waited for."""
    datagram_size: int = DATAGRAM_SIZE
    """Most bytes of input in one datagram."""
    interval: float = 0.0
    """Between lines of input; above 0 each line is sent by itself."""
    crlf: bool = False
    """A bare LF of the input goes out as CRLF."""
    telnet: bool = False
    """The peer's telnet negotiation (RFC 854) is refused option by option, and not shown."""
    output: str | None = None
    """A file for what goes both ways, as it was on the wire."""
    hex_dump: str | None = None
    append: bool = False
    """Both files keep what is in them."""
    progress: bool = False
    """A line on stderr that says how far it is, where stderr is a terminal."""
    json: bool = False
    """A line of JSON on stderr at the end of each connection."""


PLAIN = RelayOptions()
