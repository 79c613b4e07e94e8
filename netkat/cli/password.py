"""A password, asked for on the terminal."""

from __future__ import annotations

import os
import signal
from types import FrameType

from netkat.commands.signals import Interrupted
from netkat.errors import BadArgument

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ask(prompt: str, option: str) -> str:
    """What is typed, unseen; stdin and stdout stay the connection's.

    Errors: BadArgument where there is no terminal, Interrupted.
    """
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise BadArgument(
            f"{option}: there is no terminal to ask for the password on",
            hint="NETKAT_PROXY_AUTH=USER:PASSWORD in the environment",
        ) from None
    # A signal's default would leave the terminal without its echo.
    before = {number: signal.getsignal(number) for number in _ENDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise BadArgument(f"{option}: no password was given") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)
