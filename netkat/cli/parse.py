"""Words of the command line, turned into values. Each says what it would have taken."""

from __future__ import annotations

import re
import socket

from netkat.errors import BadArgument, InterfaceNotFound
from netkat.flow import IPAddress, Protocol
from netkat.options import parse_address

_UNITS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}
_LONGEST = 7 * 86400.0


def seconds(word: str, option: str) -> float:
    """``2``, ``0.5``, ``500ms``, ``2m``, ``1h`` in seconds."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ms|s|m|h|)", word)
    if match is None:
        raise BadArgument(f"{option}: {word!r} is not a time", hint="write 2, 0.5, 500ms or 2m")
    value = float(match[1]) * _UNITS[match[2]]
    if not 0.001 <= value <= _LONGEST:
        raise BadArgument(f"{option}: {word} is out of range", hint="from 1ms to 168h")
    return value


def source_port(word: str | None, protocol: Protocol, what: str = "-p") -> int:
    """A number or a service's name; 0 where none is asked for. ``what`` names it in faults."""
    if word is None:
        return 0
    if word.isascii() and word.isdigit():
        return _port_number(word, what)
    try:
        return socket.getservbyname(word, str(protocol))
    except (OSError, UnicodeError):
        raise BadArgument(
            f"{what}: {word!r} is neither a port number nor a {protocol} service", hint="1 to 65535"
        ) from None


def count(word: str, option: str) -> int:
    """A number of things, at least one."""
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0
    if not number:
        raise BadArgument(f"{option}: {word!r} is no number of things", hint="1 or more")
    return number


def destination_port(word: str) -> str:
    """PORT as the resolver takes it: a number in range, or a service's name."""
    if word.isascii() and word.isdigit():
        return str(_port_number(word, "port"))
    if not word:
        raise BadArgument("the port is empty", hint="a number from 1 to 65535, or a service's name")
    return word


def _port_number(word: str, what: str) -> int:
    number = int(word) if len(word) < 10 else 0
    if not 1 <= number <= 65535:
        raise BadArgument(f"{what} {word} is out of range", hint="1 to 65535")
    return number


def host(word: str) -> str:
    """HOST, as far as it can be judged without asking anybody."""
    if not word:
        raise BadArgument("the host is empty")
    if word.startswith("[") and word.endswith("]"):
        word = word[1:-1]
    return word


def address(word: str, option: str) -> IPAddress:
    """An IP address, of either version, a zone allowed."""
    given = parse_address(word, option)
    if given.is_unspecified:
        raise BadArgument(
            f"{option} {word} is every address", hint=f"without {option} the route chooses one"
        )
    return given


def interface(word: str) -> str:
    """-i: a name. A number that is none is most likely nc's or ncat's -i."""
    numeric = re.fullmatch(r"[0-9.]+(ms|s|m|h)?", word)
    if numeric and word not in (name for _, name in socket.if_nameindex()):
        raise InterfaceNotFound(
            f"-i: there is no interface called {word!r}",
            hint="nc's -i is --interval TIME, ncat's -i is --idle-timeout TIME;"
            " ip -br link lists the interfaces",
        )
    if not word:
        raise BadArgument("-i: the interface's name is empty")
    return word
