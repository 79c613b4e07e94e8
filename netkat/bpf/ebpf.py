"""The shipped eBPF program with its map of flows, ready to be attached."""

from __future__ import annotations

import errno
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from netkat.bpf.flow_key import KEY, key_of
from netkat.bpf.guard import Guard, GuardLink, check
from netkat.bpf.program import Program, VerifierRefused
from netkat.bpf.refusal import put_into_words
from netkat.bpf.shipped import LICENSE, instructions
from netkat.bpf.sys import HashMap
from netkat.errors import GuardFailed, MissingCapability, SetupError
from netkat.flow import Flow, IPAddress

if TYPE_CHECKING:
    from netkat.bpf.packets import Packets

NAME: Final = "netkat_ingress"
"""Of program and filter, as bpftool and tc print them (15 characters at most)."""

MAX_FLOWS: Final = 16384
"""Room for the busiest proxy that one host's memory would hold; costs 256 KiB of buckets."""

_COUNT = struct.Struct("=Q")


class Ingress:
    """The loaded program and its flows. Errors of the constructor: any SetupError."""

    def __init__(self, link: GuardLink) -> None:
        with ExitStack() as undo:
            try:
                self.flows = HashMap("netkat_flows", KEY.size, _COUNT.size, MAX_FLOWS)
                undo.callback(self.flows.close)
                self.program = Program(NAME, instructions(self.flows.fd), LICENSE)
                undo.callback(self.program.close)
            except VerifierRefused as refused:
                raise GuardFailed(f"loading the eBPF guard: the verifier says: {refused}") from None
            except SetupError:
                raise
            except OSError as error:
                # CAP_NET_ADMIN as well, for a program of a networking type.
                needs = ("CAP_BPF", "CAP_NET_ADMIN")
                raise put_into_words(
                    error, "loading the eBPF guard", "eBPF guard", needs, link.name
                ) from None
            self.close = undo.pop_all().close


class EbpfGuard(Guard):
    """A guard whose flows are entries of a map, however its program is attached."""

    def __init__(self, link: GuardLink, ingress: Ingress) -> None:
        super().__init__(link)
        self._ingress = ingress

    def add(self, flow: Flow) -> None:
        check(flow)
        self._insert(key_of(flow), flow)

    def claim(self, address: IPAddress) -> bool:
        self._insert(KEY.pack(address.packed, b"", 0, 0, 0, address.version, 0), address)
        return True

    def _insert(self, key: bytes, flow: Flow | IPAddress) -> None:
        try:
            self._ingress.flows.insert(key, bytes(_COUNT.size))
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise GuardFailed(
                    f"the guard on {self.link.name} holds {MAX_FLOWS} flows already"
                ) from None
            if error.errno == errno.EPERM:
                # Before Linux 5.19 a map's own descriptor is not enough where
                # kernel.unprivileged_bpf_disabled is set.
                raise MissingCapability(
                    f"adding {flow} to the guard: this kernel wants CAP_BPF for it,"
                    " which was dropped",
                    capability="CAP_BPF",
                    hint="choose --guard cbpf, which changes its flows without it",
                ) from None
            raise GuardFailed(f"adding {flow} to the guard: {error.strerror}") from None

    def packets(self) -> Packets | None:
        from netkat.bpf.packets import Packets

        try:
            return Packets(self._ingress.flows, ethernet=self.link.ethernet)
        except (OSError, VerifierRefused):
            return None

    def remove(self, flow: Flow) -> None:
        try:
            self._ingress.flows.delete(key_of(flow))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBADF):
                raise GuardFailed(f"removing {flow} from the guard: {error.strerror}") from None

    def kept(self, flow: Flow) -> int | None:
        try:
            value = self._ingress.flows.lookup(key_of(flow))
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EBADF):
                return None
            raise GuardFailed(f"reading the guard's count: {error.strerror}") from None
        return None if value is None else int(_COUNT.unpack(value)[0])
