"""The owner of one handle of the library: closed once, and loudly when it was forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from netkat import finalizers
from netkat.resources import Closeable
from netkat.stack.ffi import EndpointHandle, Loaded, StackHandle

H = TypeVar("H", StackHandle, EndpointHandle)


class Owner(Closeable, Generic[H]):
    """Base of Stack and Endpoint. A closed one has handle 0, which the library refuses."""

    def __init__(self, loaded: Loaded, handle: H) -> None:
        finalizers.start()
        self._loaded, self._ffi, self._lib = loaded, loaded.ffi, loaded.calls
        self._handle: H = handle

    def close(self) -> None:
        """Close. Idempotent."""
        # Two threads at once may both hand it back: the library takes it once.
        handle, self._handle = self._handle, type(self._handle)(0)
        # In a forked child the handle is still the parent's.
        if handle and self._loaded.usable:
            self._let_go(handle)

    @property
    def closed(self) -> bool:
        """True after close()."""
        return not self._handle

    def _let_go(self, handle: H) -> None:
        raise NotImplementedError

    def __del__(self, finalize: Callable[..., None] = finalizers.close_unclosed) -> None:
        if getattr(self, "_handle", 0) and self._loaded.usable:
            finalize(self, self.close)

    def __repr__(self) -> str:
        state = f"handle {self._handle}" if self._handle else "closed"
        return f"<netkat.stack.{type(self).__name__} {state}>"
