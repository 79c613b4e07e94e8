"""The check that a Go library can be loaded with this C library."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from netkat.errors import LibraryMismatch
from netkat.stack import ffi
from netkat.stack.c_library import require_glibc


def unknown_name(_: object) -> str:
    raise ValueError("unrecognized configuration name")


def invalid_argument(_: object) -> str:
    raise OSError(22, "Invalid argument")


def no_value(_: object) -> None:
    return None


@pytest.mark.parametrize("answer", [unknown_name, invalid_argument, no_value])
@pytest.mark.parametrize("start", [require_glibc, ffi.require_process, ffi.load])
def test_start_with_musl_is_one_line_before_dlopen(
    answer: Callable[[object], object],
    start: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(ffi, "_loaded", None)
    monkeypatch.setattr(ffi, "open_library", opened.append)
    monkeypatch.setattr(os, "confstr", answer)
    with pytest.raises(LibraryMismatch, match="musl") as caught:
        start()
    assert "\n" not in str(caught.value)
    assert "glibc" in (caught.value.hint or "")
    assert opened == []


def test_glibc_is_accepted() -> None:
    require_glibc()
