"""The same connection past this host's rules, by netkat itself."""

from __future__ import annotations

import time
from contextlib import closing

from netkat.diagnose.why.evidence import Probe, endpoint
from netkat.errors import (
    EgressRefused,
    Hairpin,
    NetkatError,
    NextHopSilent,
    NoAnswer,
    NoRoute,
    OwnAddress,
    Prohibited,
    Refused,
    TimedOut,
    Unreachable,
)

_OUTCOMES: tuple[tuple[type[NetkatError], str], ...] = (
    (Hairpin, "hairpin"),
    (Prohibited, "rejected"),
    (Unreachable, "unreachable"),
    (Refused, "refused"),
    (NextHopSilent, "next_hop_silent"),
    (EgressRefused, "egress_refused"),
    (OwnAddress, "own_address"),
    (NoRoute, "no_route"),
    (NoAnswer, "no_answer"),
    (TimedOut, "no_answer"),
)
"""The first class that fits; subclasses come before their parents."""


def bypass_probe(
    address: str,
    port: int,
    protocol: str,
    *,
    timeout: float,
    payload: bytes = b"",
    netns: str | int | None = None,
    claim: str | None = None,
) -> Probe:
    """Connect (TCP), or send the payload and wait for an answer (UDP).

    Errors: SetupError where netkat cannot work here.
    """
    import netkat

    with closing(netkat.Stack(netns=netns, claim=claim)) as stack:
        begun = time.monotonic()
        try:
            if protocol == "tcp":
                with stack.create_connection((address, port), timeout=timeout) as connection:
                    # The call opens a packet socket and a guard as well: the handshake's own
                    # round-trip time is what compares with the kernel's connect(2).
                    taken = connection.info().rtt / 1e6 or time.monotonic() - begun
                    return _connected(connection.getsockname(), address, port, taken)
            with stack.open_datagram((address, port), timeout=timeout) as datagrams:
                datagrams.send(payload)
                datagrams.recv(65536)
                taken = time.monotonic() - begun
                return _connected(datagrams.getsockname(), address, port, taken)
        except TimeoutError as error:
            return _failed(error, time.monotonic() - begun)
        except NetkatError as error:
            return _failed(error, time.monotonic() - begun)


def _connected(local: tuple[object, ...], address: str, port: int, seconds: float) -> Probe:
    return Probe(
        "connected",
        seconds=round(seconds, 6),
        source=str(local[0]),
        source_port=int(str(local[1])),
        sent=1,
        peer=endpoint(address, port),
    )


def _failed(error: Exception, seconds: float) -> Probe:
    outcome = next((name for kind, name in _OUTCOMES if isinstance(error, kind)), None)
    if outcome is None and isinstance(error, TimeoutError):
        outcome = "no_answer"
    if outcome is None:
        raise error
    sender = getattr(error, "sender", None)
    next_hop = getattr(error, "next_hop", None)
    return Probe(
        outcome,
        seconds=round(seconds, 6),
        sent=getattr(error, "sent", 0),
        sender="" if sender is None else str(sender),
        reason=str(error),
        next_hop="" if next_hop is None else str(next_hop),
    )
