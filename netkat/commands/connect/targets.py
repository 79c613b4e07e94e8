"""The addresses of a command, each prepared while privileges are held."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from netkat.errors import InterfaceDown, NetkatError, NoRoute, OwnAddress, PortTaken
from netkat.flow import IPAddress, Protocol

if TYPE_CHECKING:
    from netkat.commands.core import Attempt, Core

_ONE_ADDRESS = (NoRoute, OwnAddress, InterfaceDown, PortTaken)
"""Errors of one address: another one may still be reached."""


class FailedAttempt:
    """An address that could not be prepared, and why."""

    def __init__(self, address: IPAddress, port: int, error: NetkatError) -> None:
        self.address, self.port, self.error = address, port, error

    def notes(self) -> list[str]:
        """Return no lines: the error is reported when the address is tried."""
        return []

    def warnings(self) -> list[str]:
        """Return no lines."""
        return []


class Targets(NamedTuple):
    """The attempts of a command, in the order in which they are tried."""

    attempts: list[Attempt]

    def notes(self) -> list[str]:
        """Return the lines for -v."""
        return [note for attempt in self.attempts for note in attempt.notes()]

    def warnings(self) -> list[str]:
        """Return the lines that are shown without -v."""
        return [warning for attempt in self.attempts for warning in attempt.warnings()]


def prepare_targets(
    core: Core,
    addresses: Iterable[tuple[IPAddress, int]],
    protocol: Protocol,
    *,
    peers: int = 1,
) -> Targets:
    """Prepare every address; an error of one address is kept until it is tried.

    Errors: those that are not of one address.
    """
    attempts: list[Attempt] = []
    for address, port in addresses:
        try:
            attempts.append(core.prepare(address, port, protocol=protocol, peers=peers))
        except _ONE_ADDRESS as error:
            attempts.append(FailedAttempt(address, port, error))
    return Targets(attempts)
