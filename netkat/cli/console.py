"""Standard error, line by line, and the three standard descriptors."""

from __future__ import annotations

import contextlib
import logging
import os
import sys


def say(line: str) -> None:
    """One line on stderr, whatever is in it; lost quietly where nobody takes it."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()


def complain(message: str, hint: str | None = None) -> None:
    """What went wrong, and at most one line with the next step."""
    say(f"netkat: {message}")
    if hint is not None:
        say(f"  next: {hint}")


def printable(text: str) -> str:
    """One line, without what could steer a terminal: names and arguments come from anywhere."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def fill_standard_descriptors() -> None:
    """Put /dev/null wherever 0, 1 or 2 is closed.

    The next descriptor that is opened takes the lowest free number: with
    ``<&-`` a packet socket would become stdin, with ``2>&-`` error lines would
    be sent as frames.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def show_logs() -> None:
    """-vv: the rooms' own logs on stderr, as ``netkat.<room>: …``."""
    handler = logging.StreamHandler(_LogStream())
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("netkat")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


class _LogStream:
    """A text stream for logging that never fails and never prints more than a line a record."""

    def write(self, text: str) -> int:
        """Say it."""
        if text.strip("\n"):
            say(text.rstrip("\n"))
        return len(text)

    def flush(self) -> None:
        """say() flushes."""
