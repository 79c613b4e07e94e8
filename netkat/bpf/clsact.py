"""The two clsact steps: a tc filter at ingress, eBPF or classic BPF, kept by a keeper."""

from __future__ import annotations

import errno

from netkat.bpf import tc
from netkat.bpf.cbpf import ProgramTooLong, pack
from netkat.bpf.classic import guard_program
from netkat.bpf.ebpf import EbpfGuard, Ingress
from netkat.bpf.guard import Guard, GuardLink, Step, check
from netkat.bpf.kept_filter import KeptFilter
from netkat.bpf.netlink import Netlink
from netkat.bpf.ownership import tag_of
from netkat.bpf.refusal import put_into_words
from netkat.bpf.tcx import foreign
from netkat.errors import GuardFailed, SetupError
from netkat.flow import Flow


def _words(error: OSError, link: GuardLink) -> SetupError:
    what = f"putting a tc filter on {link.name}"
    return put_into_words(error, what, "cls_bpf", ("CAP_NET_ADMIN",), link.name)


def _look(link: GuardLink) -> None:
    """Refuse where our filter would not run first, or not at all. Errors: GuardFailed, OSError."""
    try:
        programs = foreign(link.index)
    except OSError as error:
        # Not allowed to look, or no bpf(2): a program that is there shows by the count.
        if error.errno == errno.ENODEV:
            raise
        programs = []
    if programs:
        raise GuardFailed(
            f"{', '.join(programs)} on {link.name} runs before every tc filter, and may end there",
            program=programs[0],
        )
    with Netlink() as netlink:
        if tc.qdisc(netlink, link.index) is None:
            return
        for found in tc.filters(netlink, link.index):
            if found.pref < tc.PREF or (found.pref == tc.PREF and not found.shares_our_pref):
                raise GuardFailed(
                    f"{found} on {link.name} holds the first place", program=str(found)
                )


def _ahead(link: GuardLink, token: str) -> str | None:
    try:
        names = foreign(link.index)
    except OSError:
        names = []
    with Netlink() as netlink:
        for found in tc.filters(netlink, link.index):
            tag = tag_of(found)
            if tag is not None and tag.token == token:
                break
            if tag is None:
                names.append(str(found))
        else:
            names.append("nobody, but netkat's own filter is gone: somebody deleted it")
    return f"{', '.join(names)} at {link.name}'s ingress, before netkat" if names else None


class ClsactGuard(EbpfGuard):
    """The eBPF program as a clsact filter. Errors of the constructor: any SetupError."""

    step = Step.CLSACT

    def __init__(self, link: GuardLink) -> None:
        super().__init__(link, Ingress(link))
        try:
            _look(link)
            self._filter = KeptFilter(link.index)
        except OSError as error:
            self._ingress.close()
            raise _words(error, link) from None
        try:
            self._filter.put_program(self._ingress.program.fd)
        except OSError as error:
            self.close()
            raise _words(error, link) from None

    def _standing(self) -> str:
        return f"eBPF, pref {tc.PREF} on {self.link.name}'s ingress, kept by {self._filter.pid}"

    def in_the_way(self) -> str | None:
        return _ahead(self.link, self._filter.token)

    def close(self) -> None:
        self._filter.close()
        self._ingress.close()


class ClassicGuard(Guard):
    """A classic program as a clsact filter, which takes no CAP_BPF.

    It cannot count: a direct-action filter has no counters of its own, and an
    action that has them does not run in that mode. The qdisc counts what all its
    filters dropped, so only "nothing yet" is certain.
    """

    step = Step.CBPF

    def __init__(self, link: GuardLink) -> None:
        super().__init__(link)
        self._flows: dict[Flow, int] = {}
        try:
            _look(link)
            self._filter = KeptFilter(link.index)
        except OSError as error:
            raise _words(error, link) from None
        try:
            self._filter.put_classic(self._assemble([]))
        except OSError as error:
            self._filter.close()
            raise _words(error, link) from None

    def _standing(self) -> str:
        return (
            f"classic BPF, pref {tc.PREF} on {self.link.name}'s ingress,"
            f" kept by {self._filter.pid}; counts nothing"
        )

    def add(self, flow: Flow) -> None:
        check(flow)
        if flow not in self._flows:
            drops = self._drops()
            self._replace([*self._flows, flow])
            self._flows[flow] = drops

    def remove(self, flow: Flow) -> None:
        if flow in self._flows:
            self._replace([other for other in self._flows if other != flow])
            del self._flows[flow]

    def kept(self, flow: Flow) -> int | None:
        before = self._flows.get(flow)
        return 0 if before is not None and self._drops() == before else None

    def in_the_way(self) -> str | None:
        return _ahead(self.link, self._filter.token)

    def close(self) -> None:
        self._filter.close()

    def _drops(self) -> int:
        with Netlink() as netlink:
            qdisc = tc.qdisc(netlink, self.link.index)
        return 0 if qdisc is None else qdisc.drops

    def _assemble(self, flows: list[Flow]) -> bytes:
        try:
            return pack(guard_program(flows, ethernet=self.link.ethernet))
        except ProgramTooLong as error:
            raise GuardFailed(
                f"the classic guard on {self.link.name} has no room for {len(flows)} flows: {error}"
            ) from None

    def _replace(self, flows: list[Flow]) -> None:
        try:
            self._filter.replace_classic(self._assemble(flows))
        except GuardFailed:
            raise
        except OSError as error:
            raise _words(error, self.link) from None
