"""Select the best guard mode that this kernel and these capabilities allow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from netkat.bpf.guard.modes import Guard, GuardLink, GuardMode
from netkat.errors import BadArgument, GuardFailed, KernelTooOld, MissingCapability
from netkat.flow import Flow, IPAddress
from netkat.netlink import Netlink

_log = logging.getLogger(__name__)

_Context = Callable[[], AbstractContextManager[None]]

__all__ = ["Guard", "GuardLink", "GuardMode", "attach"]


class Unattached(Guard):
    """A guard that attaches nothing: the modes socket and none."""

    def __init__(self, link: GuardLink, mode: GuardMode) -> None:
        super().__init__(link)
        self.mode = mode

    def _attachment(self) -> str:
        if self.mode is GuardMode.SOCKET:
            return "the reserved port's socket ignores packets (runs after netfilter)"
        return "the kernel may answer with RST"

    def add(self, flow: Flow) -> None:
        pass

    def claim(self, address: IPAddress) -> bool:
        return False

    def remove(self, flow: Flow) -> None:
        pass

    def kept(self, flow: Flow) -> int | None:
        return None

    def explain_miss(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def attach(
    link: GuardLink,
    mode: str = "auto",
    *,
    flows: Iterable[Flow] = (),
    while_waiting: _Context = nullcontext,
) -> Guard:
    """Guard the interface. ``mode`` is a GuardMode's name, or "auto" for the best that works.

    describe() of the guard reports why "auto" did not use a better mode. ``while_waiting`` is
    entered while the kernel creates a tcx link, which takes 8 to 20 ms.
    Errors: BadArgument, InterfaceDown; for a mode selected by name also
    KernelTooOld, MissingCapability, GuardFailed.
    """
    wanted = None if mode == "auto" else _parse_mode(mode)
    if wanted not in (GuardMode.SOCKET, GuardMode.NONE):
        _remove_leftovers(link)
    guard = (
        _attach_best(link, while_waiting)
        if wanted is None
        else _attach_mode(link, wanted, while_waiting)
    )
    try:
        guard.add_all(flows)
    except BaseException:
        guard.close()
        raise
    return guard


def _remove_leftovers(link: GuardLink) -> None:
    """Remove the filters of killed netkat processes on this interface. Failures are only logged."""
    from netkat.bpf.tc import qdisc

    try:
        with Netlink() as kernel:
            if qdisc(kernel, link.index) is None:
                return
        from netkat.bpf.guard import leftovers

        for leftover in leftovers.remove(link.index):
            _log.info("removed the filter of a killed netkat process: %s", leftover)
    except OSError as error:
        _log.info("cannot check %s for filters of killed netkat processes: %s", link.name, error)


def _parse_mode(mode: str) -> GuardMode:
    try:
        return GuardMode(mode)
    except ValueError:
        names = ", ".join(["auto", *GuardMode])
        raise BadArgument(f"unknown guard mode {mode!r}", hint=f"use one of: {names}") from None


def _attach_mode(link: GuardLink, mode: GuardMode, while_waiting: _Context) -> Guard:
    match mode:
        case GuardMode.TCX:
            from netkat.bpf.guard.tcx import TcxGuard

            return TcxGuard(link, while_waiting)
        case GuardMode.CLSACT:
            from netkat.bpf.guard.clsact import ClsactGuard

            return ClsactGuard(link)
        case GuardMode.CBPF:
            from netkat.bpf.guard.clsact import ClassicGuard

            return ClassicGuard(link)
        case _:
            return Unattached(link, mode)


def _attach_best(link: GuardLink, while_waiting: _Context) -> Guard:
    unavailable = []
    for mode in (GuardMode.TCX, GuardMode.CLSACT, GuardMode.CBPF):
        try:
            guard = _attach_mode(link, mode, while_waiting)
        except (KernelTooOld, MissingCapability, GuardFailed) as error:
            unavailable.append(f"{mode} ({error})")
            continue
        break
    else:
        guard = Unattached(link, GuardMode.SOCKET)
    guard.unavailable = unavailable
    return guard
