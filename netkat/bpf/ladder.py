"""The ladder: the best guard that this kernel and these capabilities allow."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from netkat.bpf.guard import Guard, GuardLink, Step
from netkat.errors import BadArgument, GuardFailed, KernelTooOld, MissingCapability
from netkat.flow import Flow, IPAddress
from netkat.netlink import Netlink

_log = logging.getLogger(__name__)

__all__ = ["Guard", "GuardLink", "Step", "attach"]


class Unattached(Guard):
    """Nothing at the interface: the steps socket and none."""

    def __init__(self, link: GuardLink, step: Step) -> None:
        super().__init__(link)
        self.step = step

    def _standing(self) -> str:
        if self.step is Step.SOCKET:
            return "the socket that reserves the port keeps silent; it sits behind netfilter"
        return "nothing keeps the kernel from answering"

    def add(self, flow: Flow) -> None:
        pass

    def claim(self, address: IPAddress) -> bool:
        return False

    def remove(self, flow: Flow) -> None:
        pass

    def kept(self, flow: Flow) -> int | None:
        return None

    def in_the_way(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def attach(link: GuardLink, step: str = "auto", *, flows: Iterable[Flow] = ()) -> Guard:
    """Guard the interface. ``step`` is a Step's name, or "auto" for the best that works.

    What "auto" passed over, and why, stands in the guard's describe().
    Errors: BadArgument, InterfaceDown; for a step asked for by name also
    KernelTooOld, MissingCapability, GuardFailed.
    """
    wanted = None if step == "auto" else _named(step)
    if wanted not in (Step.SOCKET, Step.NONE):
        _sweep(link)
    guard = _best(link) if wanted is None else _one(link, wanted)
    try:
        guard.add_all(flows)
    except BaseException:
        guard.close()
        raise
    return guard


def _sweep(link: GuardLink) -> None:
    """Take away what a killed netkat left here. That it cannot be is no reason to stop."""
    from netkat.bpf.tc import qdisc

    try:
        with Netlink() as kernel:
            if qdisc(kernel, link.index) is None:
                return
        from netkat.bpf import leftovers

        for leftover in leftovers.remove(link.index):
            _log.info("removed what a killed netkat left: %s", leftover)
    except OSError as error:
        _log.info("cannot look for what a killed netkat left on %s: %s", link.name, error)


def _named(step: str) -> Step:
    try:
        return Step(step)
    except ValueError:
        names = ", ".join(["auto", *Step])
        raise BadArgument(f"no guard step is called {step!r}", hint=f"one of {names}") from None


def _one(link: GuardLink, step: Step) -> Guard:
    match step:
        case Step.TCX:
            from netkat.bpf.tcx import TcxGuard

            return TcxGuard(link)
        case Step.CLSACT:
            from netkat.bpf.clsact import ClsactGuard

            return ClsactGuard(link)
        case Step.CBPF:
            from netkat.bpf.clsact import ClassicGuard

            return ClassicGuard(link)
        case _:
            return Unattached(link, step)


def _best(link: GuardLink) -> Guard:
    not_taken = []
    for step in (Step.TCX, Step.CLSACT, Step.CBPF):
        try:
            guard = _one(link, step)
        except (KernelTooOld, MissingCapability, GuardFailed) as error:
            not_taken.append(f"{step}: {error}")
            continue
        break
    else:
        guard = Unattached(link, Step.SOCKET)
    guard.not_taken = not_taken
    return guard
