"""Prompt for a password on the terminal."""

from __future__ import annotations

import os
import signal
from types import FrameType

from netkat.commands.signals import Interrupted
from netkat.errors import BadArgument

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ask(prompt: str, option: str) -> str:
    """Return the password; the terminal does not echo it. Does not use stdin or stdout.

    Errors: BadArgument without a terminal, Interrupted.
    """
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise BadArgument(
            f"{option}: no terminal to prompt for the password",
            hint="set NETKAT_PROXY_AUTH=USER:PASSWORD in the environment",
        ) from None
    # The default action of a signal would leave the terminal with echo off.
    before = {number: signal.getsignal(number) for number in _ENDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise BadArgument(f"{option}: no password given") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)
