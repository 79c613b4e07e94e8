"""The tcx mode: a BPF link on the interface's ingress, gone with the process that holds it."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from netkat.bpf.bpf_errors import to_setup_error
from netkat.bpf.bpf_syscall import Command, Descriptor, address, bpf
from netkat.bpf.guard.ebpf_guard import NAME, EbpfGuard, Ingress
from netkat.bpf.guard.guard_netns import NetnsHandle
from netkat.bpf.guard.modes import GuardLink, GuardMode
from netkat.bpf.program import name_of

if TYPE_CHECKING:
    from netkat.bpf.guard.hook_query_process import HookQueryProcess

INGRESS: Final = 46
EGRESS: Final = 47
"""BPF_TCX_INGRESS, BPF_TCX_EGRESS."""

_BEFORE, _AFTER = 1 << 3, 1 << 4
_CREATE = struct.Struct("=6IQ")
_QUERY = struct.Struct("=4IQI4xQQQQ")
_COUNT_IN_QUERY = struct.Struct("=24xI")
_NUMBER = struct.Struct("=I")
_MAX_PROGRAMS = 64
"""BPF_MPROG_MAX: the kernel holds no more programs at one hook."""


class Anchor(NamedTuple):
    """Where a program runs among the others; ``beside`` is a program's descriptor."""

    flags: int
    beside: int = 0


FIRST: Final = Anchor(_BEFORE)
LAST: Final = Anchor(_AFTER)


class TcxLink(Descriptor):
    """A program on an interface's tcx hook; detached by close() or the process's end.

    Errors of the constructor: OSError (EINVAL before Linux 6.6).
    """

    def __init__(
        self, program_fd: int, interface: int, anchor: Anchor, hook: int = INGRESS
    ) -> None:
        attributes = _CREATE.pack(program_fd, interface, hook, anchor.flags, anchor.beside, 0, 0)
        super().__init__(bpf(Command.LINK_CREATE, bytearray(attributes)))


def attached(interface: int, hook: int = INGRESS) -> list[int]:
    """Return the numbers of the programs on an interface's tcx hook, in execution order.

    Errors: OSError (EPERM without CAP_NET_ADMIN, EINVAL before Linux 6.6).
    """
    ids = bytearray(4 * _MAX_PROGRAMS)
    query = bytearray(_QUERY.pack(interface, hook, 0, 0, address(ids), _MAX_PROGRAMS, 0, 0, 0, 0))
    try:
        bpf(Command.PROG_QUERY, query)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []
        raise
    count = _COUNT_IN_QUERY.unpack_from(query)[0]
    return list(struct.unpack_from(f"={count}I", ids))


def foreign(interface: int) -> list[str]:
    """Describe the tcx ingress programs that are not netkat's; empty if this kernel has no tcx.

    A program whose name this process may not read is included.
    Errors: OSError.
    """
    try:
        programs = attached(interface)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return []
        raise
    return [_describe(number, name) for number in programs if (name := name_of(number)) != NAME]


def _describe(number: int, name: str | None) -> str:
    return f"tcx program {number}" + (f" {name}" if name else "")


class TcxGuard(EbpfGuard):
    """The program attached first on tcx ingress. Errors of the constructor: any SetupError."""

    mode = GuardMode.TCX

    def __init__(
        self,
        link: GuardLink,
        while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(link, Ingress(link))
        try:
            # The kernel waits until no processor runs the previous programs (net/tcx.h).
            with while_waiting():
                self._link = TcxLink(self._ingress.program.fd, link.index, FIRST)
        except OSError as error:
            self._ingress.close()
            raise to_setup_error(
                error,
                f"attaching to tcx ingress of {link.name}",
                "tcx",
                ("CAP_BPF", "CAP_NET_ADMIN"),
                link.name,
            ) from None
        self._number = self._ingress.program.id()
        self._namespace = NetnsHandle()
        self._hook_query: HookQueryProcess | None = None

    def _attachment(self) -> str:
        return f"program {self._number}, first on {self.link.name} ingress"

    def keep_sight(self) -> None:
        from netkat.bpf.guard.hook_query_process import HookQueryProcess

        if self._hook_query is None:
            with suppress(OSError):  # then explain_miss() says how to list them
                self._hook_query = HookQueryProcess(
                    self._namespace, partial(_packed, self.link.index)
                )

    def _order(self) -> list[int]:
        if self._hook_query is not None:
            return [number for (number,) in _NUMBER.iter_unpack(self._hook_query.ask())]
        return self._namespace.call(partial(attached, self.link.index))

    def explain_miss(self) -> str | None:
        try:
            order = self._order()
        except OSError as error:
            if error.errno != errno.EPERM:
                return None
            # The guard was attached first, and tcx runs right after the taps: only a
            # program attached before it since then can drop its packets.
            return (
                "possibly a tcx program attached before netkat's since then"
                f" (as root: bpftool net show dev {self.link.name})"
            )
        if self._number not in order:
            return f"another process detached netkat's program {self._number}"
        ahead = order[: order.index(self._number)]
        names = [_describe(number, name_of(number)) for number in ahead if name_of(number) != NAME]
        where = f"on {self.link.name}'s tcx ingress, before netkat"
        return f"{', '.join(names)} {where}" if names else None

    def close(self) -> None:
        if self._hook_query is not None:
            self._hook_query.stop()  # it ends while the kernel detaches the link
        self._link.close()
        self._ingress.close()
        self._namespace.close()
        if self._hook_query is not None:
            self._hook_query.close()


def _packed(index: int) -> bytes:
    return b"".join(map(_NUMBER.pack, attached(index)))
