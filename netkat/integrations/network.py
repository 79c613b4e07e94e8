"""Where a client's connections come from: a stack of its own, one it was given, or the default."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from netkat.api.default_stack import default_stack
from netkat.api.stack import Stack
from netkat.errors import BadArgument, NetkatError
from netkat.options import PathOptions

if TYPE_CHECKING:
    from netkat.conn import TcpConnection


STACK_OPTIONS = frozenset(PathOptions._fields) - {"source", "source_port"}
"""Those of PathOptions that hold for a whole stack."""


class Network:
    """Connections for one HTTP client.

    ``options`` are Stack's, for a stack that is opened with the first connection and closed
    with the client; with ``stack`` there are none, and it stays open. Without either it is
    the default stack. Errors: BadArgument for both.
    """

    def __init__(self, stack: Stack | None, options: dict[str, Any]) -> None:
        self._options = {name: value for name, value in options.items() if value is not None}
        if stack is not None and self._options:
            raise BadArgument(f"stack= has its own {', '.join(sorted(self._options))}")
        self._stack, self._own = stack, bool(self._options)
        self._lock = threading.Lock()

    @classmethod
    def from_options(cls, stack: Stack | None, options: dict[str, Any]) -> Network:
        """Take Stack's options out of ``options``; the client's own are left there."""
        return cls(stack, {name: options.pop(name) for name in STACK_OPTIONS if name in options})

    def connect(
        self, host: str, port: int, timeout: float | None, local_address: str | None = None
    ) -> TcpConnection:
        """As Stack.create_connection. Errors: its own."""
        source = (local_address, 0) if local_address else None
        return self.stack().create_connection((host, port), timeout, source)

    def stack(self) -> Stack:
        """The one to connect by; the first call may open it. Errors: Stack's."""
        with self._lock:
            if self._own and self._stack is None:
                self._stack = Stack(**self._options)
        return self._stack or default_stack()

    def close(self) -> None:
        """Close the stack if it is this client's own. Idempotent."""
        with self._lock:
            if self._own and self._stack is not None:
                self._stack.close()
                self._stack = None


def fault_behind(error: BaseException) -> NetkatError | None:
    """The netkat fault that a client's own exception stands for; None where it was another.

    urllib3 keeps what ended its last try as ``reason``, and requests wraps that again.

    >>> import netkat.requests
    >>> netkat.requests.fault_behind(ValueError("none of netkat's")) is None
    True
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, NetkatError):
            return behind
        reason = getattr(behind, "reason", None)
        wrapped = reason if isinstance(reason, BaseException) else None
        behind = behind.__cause__ or wrapped or behind.__context__
    return None
