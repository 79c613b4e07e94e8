"""Lines on standard error, and the three standard descriptors."""

from __future__ import annotations

import contextlib
import logging
import os
import sys


def print_status(line: str) -> None:
    """Print one line on stderr; a closed or full stderr is ignored."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(escape_controls(line) + "\n")
        sys.stderr.flush()


def print_error(message: str, hint: str | None = None) -> None:
    """Print an error, and one line with the next step."""
    print_status(f"netkat: {message}")
    if hint is not None:
        print_status(f"  next: {hint}")


def escape_controls(text: str) -> str:
    """Return the text with control characters escaped: names and arguments are untrusted."""
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
    be sent as frames. A write to a closed stdout fails still, as data would be lost.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)


def show_logs() -> None:
    """Print the logs of netkat's packages on stderr (-vv), as ``netkat.<package>: …``."""
    handler = logging.StreamHandler(_LogStream())
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("netkat")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


class _LogStream:
    """A text stream for logging that never fails and prints one line per record."""

    def write(self, text: str) -> int:
        """Print the record."""
        if text.strip("\n"):
            print_status(text.rstrip("\n"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: print_status() flushes."""
