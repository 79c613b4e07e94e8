"""The interfaces that packets can be captured on."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import NamedTuple

from netkat.capture.capture_options import ANY_NAME
from netkat.capture.run_in_netns import run_in_netns
from netkat.errors import InterfaceNotFound
from netkat.wire.ring import hardware_type, is_up


class CaptureInterface(NamedTuple):
    """An interface in the list that -D prints."""

    name: str
    up: bool
    loopback: bool


def list_interfaces(netns: str | int | None = None) -> list[CaptureInterface]:
    """Return the namespace's interfaces and "any": those that are up first, loopback last."""

    def ask() -> list[CaptureInterface]:
        found = []
        for _, name in socket.if_nameindex():
            try:
                found.append(CaptureInterface(name, is_up(name), hardware_type(name) == 772))
            except (OSError, InterfaceNotFound):
                continue  # removed in the meantime
        found.sort(key=lambda one: (not one.up, one.loopback))
        at = next(
            (place for place, one in enumerate(found) if one.loopback or not one.up), len(found)
        )
        return [*found[:at], CaptureInterface(ANY_NAME, True, False), *found[at:]]

    return run_in_netns(netns, ask)


def _first(names: Sequence[str]) -> str:
    """Return the default interface, as in tcpdump: the first that is not loopback."""
    return next((name for name in names if name != "lo"), ANY_NAME)


def select_interfaces(words: Sequence[str], netns: str | int | None) -> tuple[str, ...]:
    """Return interface names for the values of -i: names, or numbers from -D; default: the first.

    Errors: InterfaceNotFound.
    """
    if not words:
        names = [one.name for one in list_interfaces(netns) if one.up and one.name != ANY_NAME]
        return (_first(names),)
    found = []
    for word in words:
        if not word:
            raise InterfaceNotFound("-i: empty interface name")
        if word.isdecimal() and word not in (name for _, name in socket.if_nameindex()):
            found.append(_numbered(int(word), netns))
        else:
            found.append(word)
    return tuple(dict.fromkeys(found))


def _numbered(number: int, netns: str | int | None) -> str:
    interfaces = list_interfaces(netns)
    if not 1 <= number <= len(interfaces):
        raise InterfaceNotFound(
            f"-i: no interface with number {number}", hint="list interfaces: netkat sniff -D"
        )
    return interfaces[number - 1].name
