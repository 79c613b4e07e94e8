"""``netkat sniff``, live or from a file."""

from __future__ import annotations

from netkat.commands.sniff.assembly import Say
from netkat.commands.sniff.sniff_options import SniffRequest


def sniff(request: SniffRequest, say: Say) -> int:
    """Do what is asked; the exit code. ``say`` takes the lines for standard error.

    Errors: NetkatError before the first packet. What goes wrong later becomes
    one line, after what was captured has been written and counted, and code 1.
    """
    if request.read is not None:
        from netkat.commands.sniff.from_file import read_file

        return read_file(request, say)
    from netkat.commands.sniff.live_run import LiveRun

    return LiveRun(request, say).run()
