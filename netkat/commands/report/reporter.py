"""What a run prints besides its data: lines on stderr, progress, files, JSON."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from netkat.commands.report.connection_report import ConnectionReport
from netkat.commands.report.progress_line import ProgressLine
from netkat.commands.report.session_dump import SessionDump

if TYPE_CHECKING:
    from typing_extensions import Self

    from netkat.commands.relay.relay_options import RelayOptions

Say = Callable[[str], None]


class Reporter:
    """Opened before privileges are dropped: the files may need them. Errors: BadArgument.

    Lines for stderr go to the callback. With --json, and without ``verbose``, the lines go into
    ``quiet_report``, so that stderr is one line of JSON.
    """

    def __init__(
        self,
        options: RelayOptions,
        say: Say,
        *,
        quiet_report: ConnectionReport | None = None,
        verbose: bool = False,
    ) -> None:
        self._json = options.json
        self.progress = ProgressLine(say, wanted=options.progress)
        quiet = options.json and not verbose
        self.say: Say = (
            self.progress.say if quiet_report is None or not quiet else quiet_report.add_message
        )
        self.dump = SessionDump(options, self.say)

    def emit(self, report: ConnectionReport, error: Exception | None = None) -> bool:
        """Print the JSON of a finished connection; True if --json is given."""
        if error is not None:
            report.set_error(error)
        if self._json:
            self.progress.say(report.to_json())
        return self._json

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.progress.close()
        self.dump.close()
