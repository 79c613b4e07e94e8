"""What a run tells besides its bytes: lines on stderr, progress, files, JSON."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from netkat.commands.report.connection_report import Account
from netkat.commands.report.progress_line import Progress
from netkat.commands.report.session_dump import Record

if TYPE_CHECKING:
    from typing_extensions import Self

    from netkat.commands.relay.relay_options import RelayOptions

Say = Callable[[str], None]


class Reports:
    """Opened before privileges go, since the files may need them. Errors: BadArgument.

    ``say`` takes a line for stderr. With --json, and nobody who asked for more
    (``wordy``), the lines of ``alone`` go into the JSON: stderr is one line then.
    """

    def __init__(
        self,
        options: RelayOptions,
        say: Say,
        *,
        alone: Account | None = None,
        wordy: bool = False,
    ) -> None:
        self._json = options.json
        self.progress = Progress(say, wanted=options.progress)
        quiet = options.json and not wordy
        self.say: Say = self.progress.say if alone is None or not quiet else alone.note
        self.record = Record(options, self.say)

    def tell(self, account: Account, error: Exception | None = None) -> bool:
        """The JSON of a connection that is over, where it was asked for: then True."""
        if error is not None:
            account.failed(error)
        if self._json:
            self.progress.say(account.line())
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
        self.record.close()
