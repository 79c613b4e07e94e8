"""Several things closed at once."""

from __future__ import annotations

import threading

import pytest

from netkat.resources import close_concurrently


def test_each_is_closed_while_the_others_are() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet() -> None:
        meeting.wait()

    close_concurrently(meet, meet, meet)
    assert meeting.n_waiting == 0 and not meeting.broken


def test_a_fault_of_one_is_raised_when_all_are_closed() -> None:
    closed = threading.Event()

    def fails() -> None:
        raise OSError("of the first")

    with pytest.raises(OSError, match="of the first"):
        close_concurrently(fails, closed.set)
    assert closed.is_set()
    with pytest.raises(OSError, match="of the first"):
        close_concurrently(closed.clear, fails)
    assert not closed.is_set()


def test_where_no_thread_is_to_be_had_one_is_closed_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    closed: list[int] = []
    close_concurrently(lambda: closed.append(1), lambda: closed.append(2), lambda: closed.append(3))
    assert sorted(closed) == [1, 2, 3]
