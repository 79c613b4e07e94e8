"""libpcap's filter compiler, typed. Only what a capture filter needs; no capture by libpcap.

ctypes and not cffi: a run compiles one or two filters, so call speed does not
matter, while in-line cffi declarations would cost 40 ms of pycparser at start
and out-of-line ones a generated module for six functions.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

from netkat.errors import BadArgument, SetupError

Instruction = tuple[int, int, int, int]
"""code, jt, jf, k: ``struct sock_filter`` (Linux uapi filter.h)."""

NAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
"""Upstream's soname, Debian's soname, and the development link."""

NETMASK_UNKNOWN = 0xFFFFFFFF
_ERRBUF = 256


class _Insn(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Insn)))


class LibpcapMissing(SetupError, ImportError):
    """libpcap is not installed. Filter expressions require it; a capture without one does not."""


class FilterRefused(BadArgument):
    """libpcap does not accept the expression; ``reason`` is its own message."""

    hint = "see pcap-filter(7) for the syntax"

    def __init__(self, message: str, *, reason: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@functools.cache
def library() -> ctypes.CDLL:
    """Return the loaded library. Errors: LibpcapMissing."""
    for name in NAMES:
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        return _declare(lib)
    raise LibpcapMissing(
        "filter expressions require libpcap, which is not installed",
        hint="install libpcap: apt-get install libpcap0.8 (Debian, Ubuntu),"
        " dnf install libpcap (Fedora) or apk add libpcap (Alpine)",
    )


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    handle, program = ctypes.c_void_p, ctypes.POINTER(_Program)
    signatures: dict[str, tuple[object, list[object]]] = {
        "pcap_open_dead": (handle, [ctypes.c_int, ctypes.c_int]),
        "pcap_create": (handle, [ctypes.c_char_p, ctypes.c_char_p]),
        "pcap_set_snaplen": (ctypes.c_int, [handle, ctypes.c_int]),
        "pcap_set_buffer_size": (ctypes.c_int, [handle, ctypes.c_int]),
        "pcap_activate": (ctypes.c_int, [handle]),
        "pcap_set_datalink": (ctypes.c_int, [handle, ctypes.c_int]),
        "pcap_close": (None, [handle]),
        "pcap_geterr": (ctypes.c_char_p, [handle]),
        "pcap_compile": (
            ctypes.c_int,
            [handle, program, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint],
        ),
        "pcap_freecode": (None, [program]),
        "pcap_lib_version": (ctypes.c_char_p, []),
        "bpf_image": (ctypes.c_char_p, [ctypes.POINTER(_Insn), ctypes.c_int]),
        "bpf_filter": (
            ctypes.c_uint,
            [ctypes.POINTER(_Insn), ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Handle:
    """A pcap_t: dead, or activated on a device just long enough to compile for it."""

    def __init__(self, linktype: int, snaplen: int, device: str | None = None) -> None:
        self._lib = library()
        if device is None:
            self._pcap = self._lib.pcap_open_dead(linktype, snaplen)
        else:
            self._pcap = self._activate(device, linktype, snaplen)

    def _activate(self, device: str, linktype: int, snaplen: int) -> int:
        errbuf = ctypes.create_string_buffer(_ERRBUF)
        pcap: int = self._lib.pcap_create(device.encode(), errbuf)
        if not pcap:
            raise FilterRefused(f"libpcap: {errbuf.value.decode(errors='replace')}")
        self._lib.pcap_set_snaplen(pcap, snaplen)
        self._lib.pcap_set_buffer_size(pcap, 1 << 18)
        if self._lib.pcap_activate(pcap) < 0:
            reason = self._lib.pcap_geterr(pcap).decode(errors="replace")
            self._lib.pcap_close(pcap)
            raise FilterRefused(f"libpcap on {device}: {reason}")
        self._lib.pcap_set_datalink(pcap, linktype)
        return pcap

    def compile(self, expression: str, *, optimize: bool, netmask: int) -> list[Instruction]:
        """Compile an expression. Errors: FilterRefused with libpcap's message."""
        program = _Program()
        # libpcap reads a C string: a NUL would cut the expression short and widen it.
        if "\0" in expression:
            raise FilterRefused("the filter contains a NUL byte", reason="NUL byte")
        text = expression.encode("utf-8", "surrogateescape")
        if self._lib.pcap_compile(self._pcap, ctypes.byref(program), text, int(optimize), netmask):
            reason = self._lib.pcap_geterr(self._pcap).decode(errors="replace")
            raise FilterRefused(reason, reason=reason)
        try:
            return [
                (insn.code, insn.jt, insn.jf, insn.k)
                for insn in program.instructions[: program.length]
            ]
        finally:
            self._lib.pcap_freecode(ctypes.byref(program))

    def close(self) -> None:
        if self._pcap:
            self._lib.pcap_close(self._pcap)
            self._pcap = None


def version() -> str:
    """Return libpcap's version, such as "libpcap version 1.10.3 (with TPACKET_V3)"."""
    text: bytes = library().pcap_lib_version()
    return text.decode()


def image(program: Sequence[Instruction]) -> str:
    """Return the program as tcpdump -d prints it (libpcap's disassembler)."""
    lib = library()
    return "\n".join(
        lib.bpf_image(ctypes.byref(_Insn(*instruction)), index).decode()
        for index, instruction in enumerate(program)
    )


class Matcher:
    """Runs a compiled filter over bytes in user space (files, and what the kernel cannot test)."""

    def __init__(self, program: Sequence[Instruction]) -> None:
        self._program = (_Insn * len(program))(*(_Insn(*one) for one in program))
        self._filter = library().bpf_filter

    def __call__(self, data: bytes, wire_length: int) -> bool:
        kept: int = self._filter(self._program, data, wire_length, len(data))
        return kept != 0
