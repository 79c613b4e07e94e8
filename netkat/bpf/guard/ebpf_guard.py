"""The eBPF guard: the program of ingress.c with its map of flows, ready to be attached."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from netkat.bpf.bpf_errors import to_setup_error
from netkat.bpf.filters.flow_key import claimed_key, key_of
from netkat.bpf.filters.flow_map import FlowMap
from netkat.bpf.guard.modes import Guard, GuardLink, check
from netkat.bpf.prebuilt import LICENSE, instructions
from netkat.bpf.program import LoadedProgram, VerifierRefused
from netkat.errors import GuardFailed, SetupError
from netkat.flow import Flow, IPAddress

if TYPE_CHECKING:
    from netkat.bpf.filters.ebpf_filter import EbpfFilter

NAME: Final = "netkat_ingress"
"""Name of the program and the filter in bpftool and tc (15 characters at most)."""

_log = logging.getLogger(__name__)


class Ingress:
    """The loaded program and its flows. Errors of the constructor: any SetupError."""

    def __init__(self, link: GuardLink) -> None:
        with ExitStack() as undo:
            try:
                self.flows = FlowMap()
                undo.callback(self.flows.close)
                code = instructions("ingress", self.flows.fd)
                self.program = LoadedProgram(NAME, code, LICENSE)
                undo.callback(self.program.close)
            except VerifierRefused as refused:
                raise GuardFailed(
                    f"loading the eBPF guard: rejected by the verifier [{refused}]"
                ) from None
            except SetupError:
                raise
            except OSError as error:
                raise _refused(error, "loading the eBPF guard", link) from None
            self.close = undo.pop_all().close


class EbpfGuard(Guard):
    """A guard whose flows are entries of a map, however its program is attached."""

    def __init__(self, link: GuardLink, ingress: Ingress) -> None:
        super().__init__(link)
        self._ingress, self._flows = ingress, ingress.flows

    def add(self, flow: Flow) -> None:
        check(flow)
        self._flows.add(key_of(flow), flow)

    def claim(self, address: IPAddress) -> bool:
        self._flows.add(claimed_key(address), address)
        return True

    def socket_filter(self) -> EbpfFilter | None:
        from netkat.bpf.filters.ebpf_filter import EbpfFilter

        try:
            return EbpfFilter(self._flows, ethernet=self.link.ethernet)
        except VerifierRefused as refused:
            _log.info(
                "using the classic socket filter: eBPF rejected by the verifier [%s]",
                refused,
            )
            return None
        except OSError as error:
            raise _refused(error, "loading the eBPF socket filter", self.link) from None

    def remove(self, flow: Flow) -> None:
        self._flows.remove(key_of(flow), flow)

    def kept(self, flow: Flow) -> int | None:
        return self._flows.dropped(key_of(flow))


def _refused(error: OSError, what: str, link: GuardLink) -> SetupError:
    # CAP_NET_ADMIN as well, for a program of a networking type.
    return to_setup_error(error, what, "eBPF guard", ("CAP_BPF", "CAP_NET_ADMIN"), link.name)
