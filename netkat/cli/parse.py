"""Parse arguments of the command line. Each error lists the values that are valid."""

from __future__ import annotations

import re
import socket

from netkat.errors import BadArgument, InterfaceNotFound
from netkat.flow import IPAddress, Protocol
from netkat.options import parse_address

_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}
_LONGEST = 7 * 86400.0


def seconds(word: str, option: str) -> float:
    """Return ``2``, ``0.5``, ``500ms``, ``2m`` or ``1h`` in seconds."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ms|s|m|h|)", word)
    if match is None:
        raise BadArgument(f"{option}: invalid time {word!r}", hint="write 2, 0.5, 500ms or 2m")
    value = float(match[1]) * _UNITS[match[2]]
    if not 0.001 <= value <= _LONGEST:
        raise BadArgument(f"{option}: {word} is out of range", hint="use 1ms to 168h")
    return value


def source_port(word: str | None, protocol: Protocol, what: str = "-p") -> int:
    """Parse a port number or service name; 0 for None. ``what`` names it in errors."""
    if word is None:
        return 0
    if word.isascii() and word.isdigit():
        return _port_number(word, what)
    try:
        return socket.getservbyname(word, str(protocol))
    except (OSError, UnicodeError):
        raise BadArgument(
            f"{what}: {word!r} is neither a port number nor a {protocol} service",
            hint="use 1 to 65535",
        ) from None


def count(word: str, option: str) -> int:
    """Parse a number, at least 1."""
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0
    if not number:
        raise BadArgument(f"{option}: invalid number {word!r}", hint="use 1 or more")
    return number


def destination_port(word: str) -> str:
    """Check PORT: a number in range, or a service name for the resolver."""
    if word.isascii() and word.isdigit():
        return str(_port_number(word, "port"))
    if not word:
        raise BadArgument("empty port", hint="use a number from 1 to 65535, or a service name")
    return word


def _port_number(word: str, what: str) -> int:
    number = int(word) if len(word) < 10 else 0
    if not 1 <= number <= 65535:
        raise BadArgument(f"{what} {word} is out of range", hint="use 1 to 65535")
    return number


def host(word: str) -> str:
    """Check HOST without resolving it; brackets are removed."""
    if not word:
        raise BadArgument("empty host name")
    if word.startswith("[") and word.endswith("]"):
        word = word[1:-1]
    return word


def address(word: str, option: str) -> IPAddress:
    """Parse an IP address of either version; a zone is allowed."""
    given = parse_address(word, option)
    if given.is_unspecified:
        raise BadArgument(
            f"{option}: {word} is not a usable source address",
            hint=f"omit {option} to select one automatically",
        )
    return given


def interface(word: str) -> str:
    """Check the interface name of -i; a number is most likely meant as nc's or ncat's -i."""
    numeric = re.fullmatch(r"[0-9.]+(ms|s|m|h)?", word)
    if numeric and word not in (name for _, name in socket.if_nameindex()):
        raise InterfaceNotFound(
            f"-i: no such interface: {word}",
            hint="use --interval TIME for nc's -i, --idle-timeout TIME for ncat's;"
            " list interfaces: ip -br link",
        )
    if not word:
        raise BadArgument("-i: empty interface name")
    return word
