"""Objects that ``with`` closes, and closing several at the same time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Closeable(ABC):
    """Base of everything with an idempotent close(): the end of a ``with`` block calls it."""

    @abstractmethod
    def close(self) -> None:
        """Release the resources. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def close_concurrently(first: Callable[[], None], *others: Callable[[], None]) -> None:
    """Close several things at the same time: each but the first in a thread of its own.

    Errors: the first that any of them raised, when all are done.
    """
    errors: list[BaseException] = []

    def attempt(close: Callable[[], None]) -> None:
        try:
            close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt, args=(close,)) for close in others]
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:  # no thread available: close one after another
            thread.run()
    attempt(first)
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    if errors:
        raise errors[0]
