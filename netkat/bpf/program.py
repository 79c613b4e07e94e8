"""eBPF programs: load them, read the names of loaded ones."""

from __future__ import annotations

import errno
import struct
from typing import Final

from netkat.bpf.bpf_syscall import Command, Descriptor, address, bpf

SOCKET_FILTER: Final = 1
SCHED_CLS: Final = 3
"""BPF_PROG_TYPE_* of uapi/linux/bpf.h."""

_LOAD = struct.Struct("=IIQQIIQI4x16s8x")
_INFO = struct.Struct("=IIQ")
_BY_ID = struct.Struct("=III")
_NAME_IN_INFO = slice(64, 80)
_ID_IN_INFO = struct.Struct("=4xI")
_LOG_SIZE = 1 << 20


class VerifierRefused(Exception):
    """The kernel's verifier rejected the program. ``log`` is its whole log."""

    def __init__(self, line: str, log: str) -> None:
        super().__init__(line)
        self.log = log


class LoadedProgram(Descriptor):
    """A loaded program; ``terms`` is its license string. Errors: VerifierRefused, OSError."""

    def __init__(self, name: str, instructions: bytes, terms: str, kind: int = SCHED_CLS) -> None:
        super().__init__(_load(name, bytearray(instructions), terms, kind))

    def id(self) -> int:
        """Return the program's number, as bpftool prints it."""
        return int(_ID_IN_INFO.unpack_from(_info(self.fd, 80))[0])


def _load(name: str, instructions: bytearray, terms: str, kind: int) -> int:
    license_string = bytearray(terms.encode() + b"\0")

    def load(level: int, log: bytearray) -> int:
        return bpf(
            Command.PROG_LOAD,
            bytearray(
                _LOAD.pack(
                    kind,
                    len(instructions) // 8,
                    address(instructions),
                    address(license_string),
                    level,
                    len(log) if level else 0,
                    address(log) if level else 0,
                    0,
                    name.encode(),
                )
            ),
        )

    try:
        return load(0, bytearray(1))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL):
            raise
        refusal = error
    # A log is asked for only once it is needed: writing it costs a good load milliseconds.
    log = bytearray(_LOG_SIZE)
    try:
        return load(1, log)
    except OSError:
        text = bytes(log).split(b"\0", 1)[0].decode(errors="replace")
        if not text:
            raise refusal from None
        raise VerifierRefused(verifier_reason(text), text) from None


def verifier_reason(log: str) -> str:
    """Return the line of a verifier's log with the reason: the last before the statistics."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    while len(lines) > 1 and lines[-1].startswith(
        ("processed ", "verification time", "stack depth", "max_states")
    ):
        lines.pop()
    return lines[-1] if lines else ""


def name_of(program_id: int) -> str | None:
    """Return a loaded program's name ("" if it has none); None if this process may not read it.

    Opening a program by number requires CAP_SYS_ADMIN (kernel/bpf/syscall.c,
    bpf_prog_get_fd_by_id).
    """
    try:
        fd = bpf(Command.PROG_GET_FD_BY_ID, bytearray(_BY_ID.pack(program_id, 0, 0)))
    except OSError:
        return None
    program = Descriptor(fd)
    try:
        return _info(program.fd, 80)[_NAME_IN_INFO].split(b"\0", 1)[0].decode(errors="replace")
    finally:
        program.close()


def _info(fd: int, length: int) -> bytes:
    info = bytearray(length)
    bpf(Command.OBJ_GET_INFO_BY_FD, bytearray(_INFO.pack(fd, length, address(info))))
    return bytes(info)
