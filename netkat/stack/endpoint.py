"""An endpoint in the stack: a TCP connection, a TCP listener or a UDP endpoint. Nothing waits."""

from __future__ import annotations

import enum
import warnings
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from netkat.stack.facts import OVER, Info, read_info
from netkat.stack.ffi import EndpointHandle, check, check_process, ffi, lib

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.flow import IPAddress


class Option(enum.IntEnum):
    """gostack.h's GS_OPT_ numbers. Buffers are in bytes, truth is 0 or 1."""

    NO_DELAY = 1
    KEEP_ALIVE = 2
    TTL = 3
    TOS = 4
    RECEIVE_BUFFER = 5
    SEND_BUFFER = 6
    BROADCAST = 7


class Endpoint:
    """Owns one endpoint handle. close() is idempotent; a collected open one warns and closes."""

    __slots__ = ("__weakref__", "_closed", "_handle", "_version")

    def __init__(self, handle: int, version: int) -> None:
        self._handle = EndpointHandle(handle)
        self._version = version
        self._closed = False

    def connect_result(self) -> None:
        """Return once a TCP connection is open. Errors: BlockingIOError until decided, StackError."""
        check(lib.gs_connect_result(self._handle))

    def readable_fd(self) -> int:
        """Polls readable while a read or accept would not wait. The endpoint owns it."""
        return check(lib.gs_readable_fd(self._handle))

    def writable_fd(self) -> int:
        """Polls readable while a write would not wait. The endpoint owns it."""
        return check(lib.gs_writable_fd(self._handle))

    def recv_into(self, buffer: Buffer) -> int:
        """Bytes read, 0 at the end of a stream; UDP: one datagram, cut at the buffer."""
        memory = ffi.from_buffer(buffer)
        return check(lib.gs_recv(self._handle, memory, len(memory)))

    def recv_from_into(self, buffer: Buffer) -> tuple[int, int, IPAddress, int]:
        """One datagram: bytes read, its whole length, the sender's address and port."""
        memory = ffi.from_buffer(buffer)
        full, remote, port = ffi.new("uint64_t *"), ffi.new("uint8_t[16]"), ffi.new("uint16_t *")
        count = check(
            lib.gs_recv_from(self._handle, memory, len(memory), full, remote, port)
        )
        return count, full[0], self._address(remote), port[0]

    def send(self, data: Buffer) -> int:
        """Bytes taken; UDP: one datagram."""
        memory = ffi.from_buffer(data)
        return check(lib.gs_send(self._handle, memory, len(memory)))

    def send_to(self, data: Buffer, address: IPAddress, port: int) -> int:
        """One datagram to an address."""
        memory = ffi.from_buffer(data)
        return check(
            lib.gs_send_to(
                self._handle,
                memory,
                len(memory),
                address.version,
                packed(address),
                port,
            )
        )

    def accept(self) -> tuple[Endpoint, IPAddress, int]:
        """A connection from the listener's queue, with the peer's address and port."""
        remote, port = ffi.new("uint8_t[16]"), ffi.new("uint16_t *")
        handle = check(lib.gs_accept(self._handle, remote, port))
        return Endpoint(handle, self._version), self._address(remote), port[0]

    def shutdown(self, how: int) -> None:
        """``how`` as socket.SHUT_RD, SHUT_WR, SHUT_RDWR. What is over already stays so."""
        lib.gs_shutdown(self._handle, how + 1)

    def info(self) -> Info:
        """Facts of the moment."""
        out = ffi.new("gs_info *")
        check(lib.gs_endpoint_info(self._handle, out))
        return read_info(out)

    def over(self) -> bool:
        """True once the peer counts on nothing any more: both sides ended, or reset."""
        return self._closed or self.info().state in OVER

    def set_option(self, option: Option, value: int) -> None:
        """Errors: StackError (INVALID)."""
        check(lib.gs_option_set(self._handle, option, value))

    def get_option(self, option: Option) -> int:
        """Errors: StackError."""
        return check(lib.gs_option_get(self._handle, option))

    def abort(self) -> None:
        """RST to a peer that is still there."""
        if not self._closed:
            lib.gs_abort(self._handle)

    def close(self) -> None:
        """Let go of the handle; more than once is once."""
        if not self._closed:
            self._closed = True
            check_process()
            lib.gs_close(self._handle)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        return f"<netkat.stack.Endpoint {self._handle}{' closed' if self._closed else ''}>"

    def _address(self, memory: object) -> IPAddress:
        raw = bytes(ffi.buffer(memory))
        return IPv4Address(raw[:4]) if self._version == 4 else IPv6Address(raw)


def packed(address: IPAddress) -> object:
    """An address as the ABI wants it: 16 bytes."""
    return ffi.from_buffer(address.packed.ljust(16, b"\0"))
