"""The modes clsact and cbpf: a tc filter at ingress that a cleanup process removes."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import ExitStack

from netkat.bpf import tc
from netkat.bpf.bpf_errors import to_setup_error
from netkat.bpf.filters.cbpf import ProgramTooLong, pack
from netkat.bpf.guard.classic_guard import guard_program
from netkat.bpf.guard.ebpf_guard import EbpfGuard, Ingress
from netkat.bpf.guard.filter_owner import tag_of
from netkat.bpf.guard.guard_netns import NetnsHandle
from netkat.bpf.guard.modes import Guard, GuardLink, GuardMode, check
from netkat.bpf.guard.persistent_filter import PersistentFilter
from netkat.bpf.guard.tcx import foreign
from netkat.errors import GuardFailed, SetupError
from netkat.flow import Flow, IPAddress
from netkat.netlink import Netlink


def _to_error(error: OSError, link: GuardLink) -> SetupError:
    what = f"attaching a tc filter to {link.name}"
    return to_setup_error(error, what, "cls_bpf", ("CAP_NET_ADMIN",), link.name)


class Hook:
    """An interface's clsact ingress with netkat's filter.

    Errors of the constructor: GuardFailed where netkat's filter would not run first,
    or not at all; OSError.
    """

    def __init__(self, link: GuardLink) -> None:
        self._link = link
        with ExitStack() as undo:
            # Opened here: a netlink socket stays in the network namespace of its creation.
            self._netlink = undo.enter_context(Netlink())
            self._namespace = NetnsHandle()
            undo.callback(self._namespace.close)
            self._check_is_first()
            self.filter = PersistentFilter(link.index, self._netlink)
            undo.callback(self.filter.close)
            self._undo = undo.pop_all()

    def _check_is_first(self) -> None:
        name = self._link.name
        try:
            programs = foreign(self._link.index)
        except OSError as error:
            # Not permitted, or no bpf(2): the guard's count shows if a program runs first.
            if error.errno == errno.ENODEV:
                raise
            programs = []
        if programs:
            raise GuardFailed(
                f"{', '.join(programs)} on {name} runs before tc filters",
                program=programs[0],
            )
        if tc.qdisc(self._netlink, self._link.index) is None:
            return
        for found in tc.filters(self._netlink, self._link.index):
            if found.pref < tc.PREF or (found.pref == tc.PREF and not found.may_share_pref):
                raise GuardFailed(f"{found} on {name} is already first", program=str(found))

    def programs_before(self) -> str | None:
        """Return what runs before netkat's filter, or that it was deleted; None if neither."""
        try:
            names = self._namespace.call(lambda: foreign(self._link.index))
        except OSError:
            names = []
        for found in tc.filters(self._netlink, self._link.index):
            tag = tag_of(found)
            if tag is not None and tag.token == self.filter.token:
                break
            if tag is None:
                names.append(str(found))
        else:
            return "another process deleted netkat's filter"
        return (
            f"{', '.join(names)} at {self._link.name}'s ingress, before netkat" if names else None
        )

    def drops(self) -> int:
        """Return how many packets all filters of the qdisc dropped, in both directions."""
        qdisc = tc.qdisc(self._netlink, self._link.index)
        return 0 if qdisc is None else qdisc.drops

    def close(self) -> None:
        self._undo.close()


class ClsactGuard(EbpfGuard):
    """The eBPF program as a clsact filter. Errors of the constructor: any SetupError."""

    mode = GuardMode.CLSACT

    def __init__(self, link: GuardLink) -> None:
        super().__init__(link, Ingress(link))
        with ExitStack() as undo:
            undo.callback(self._ingress.close)
            try:
                self._hook = Hook(link)
                undo.callback(self._hook.close)
                self._hook.filter.put_program(self._ingress.program.fd)
            except OSError as error:
                raise _to_error(error, link) from None
            self._undo = undo.pop_all()

    def _attachment(self) -> str:
        return (
            f"eBPF, tc ingress of {self.link.name}, pref {tc.PREF},"
            f" cleanup process {self._hook.filter.pid}"
        )

    def explain_miss(self) -> str | None:
        return self._hook.programs_before()

    def close(self) -> None:
        self._undo.close()


class ClassicGuard(Guard):
    """A classic program as a clsact filter, which does not require CAP_BPF.

    It cannot count: a direct-action filter has no counters of its own, and an
    action that has them does not run in that mode. The qdisc counts what all its
    filters dropped, so only "nothing yet" is certain.
    """

    mode = GuardMode.CBPF

    def __init__(self, link: GuardLink) -> None:
        super().__init__(link)
        self._flows: dict[Flow, int] = {}
        self._claimed: list[IPAddress] = []
        with ExitStack() as undo:
            try:
                self._hook = Hook(link)
                undo.callback(self._hook.close)
                self._hook.filter.put_classic(self._assemble([]))
            except OSError as error:
                raise _to_error(error, link) from None
            self._undo = undo.pop_all()

    def _attachment(self) -> str:
        return (
            f"classic BPF, tc ingress of {self.link.name}, pref {tc.PREF},"
            f" cleanup process {self._hook.filter.pid}"
        )

    def add(self, flow: Flow) -> None:
        self.add_all([flow])

    def add_all(self, flows: Iterable[Flow]) -> None:
        new = [flow for flow in flows if flow not in self._flows]
        for flow in new:
            check(flow)
        if new:
            drops = self._hook.drops()
            self._replace([*self._flows, *new])
            self._flows.update(dict.fromkeys(new, drops))

    def claim(self, address: IPAddress) -> bool:
        self._claimed.append(address)
        self._replace(list(self._flows))
        return True

    def remove(self, flow: Flow) -> None:
        if flow in self._flows:
            self._replace([other for other in self._flows if other != flow])
            del self._flows[flow]

    def kept(self, flow: Flow) -> int | None:
        before = self._flows.get(flow)
        return 0 if before is not None and self._hook.drops() == before else None

    def explain_miss(self) -> str | None:
        return self._hook.programs_before()

    def close(self) -> None:
        self._undo.close()

    def _assemble(self, flows: list[Flow]) -> bytes:
        try:
            return pack(guard_program(flows, self._claimed, ethernet=self.link.ethernet))
        except ProgramTooLong as error:
            full = f"the classic guard on {self.link.name} has no room for {len(flows)} flows"
            raise GuardFailed(
                f"{full}: {error}",
                hint="use the mode tcx or clsact, which hold more",
            ) from None

    def _replace(self, flows: list[Flow]) -> None:
        try:
            self._hook.filter.replace_classic(self._assemble(flows))
        except GuardFailed:
            raise
        except OSError as error:
            raise _to_error(error, self.link) from None
