"""One TCP connection, TCP listener or UDP endpoint in the stack. Only gather, pour and
pour_from wait."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from netkat.stack import facts
from netkat.stack.codes import Code, StackError, check, fault
from netkat.stack.ffi import EndpointHandle
from netkat.stack.handle import Owner
from netkat.stack.stack_path import write_path

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.flow import IPAddress
    from netkat.stack.ffi import CData, Loaded
    from netkat.stack.stack_path import StackPath


class Option(enum.IntEnum):
    """gostack.h's GS_OPT_ numbers. Buffers are in bytes, truth is 0 or 1."""

    NO_DELAY = 1
    KEEP_ALIVE = 2
    TTL = 3
    TOS = 4
    RECEIVE_BUFFER = 5
    SEND_BUFFER = 6
    BROADCAST = 7
    MIN_TTL = 8
    MAX_SEGMENT = 9
    SHARE_PORT = 10
    KEEP_IDLE = 11
    KEEP_INTERVAL = 12
    KEEP_COUNT = 13
    USER_TIMEOUT = 14
    MTU_EXPIRES = 15
    LINGER = 16
    """0 is off; otherwise seconds + 1."""


class Poured(NamedTuple):
    """What became of pour_from()."""

    taken: int
    """Bytes that the endpoint has taken."""
    lost: int
    """Bytes read when the connection failed, and not taken. The next call raises the error."""
    ended: bool
    """Nothing was taken, since the source has come to its end."""


class Endpoint(Owner[EndpointHandle]):
    """Made by Stack.connect, bind and listen, and by accept().

    BlockingIOError means "not now": wait for readable_fd() or writable_fd().
    Every other error is a StackError.
    """

    def __init__(self, loaded: Loaded, handle: EndpointHandle, version: int) -> None:
        # As Owner's, without the call: one is made for each connection.
        self._loaded, self._ffi, self._lib = loaded, loaded.ffi, loaded.calls
        self._handle = handle
        self._version = version

    def set_path(self, path: StackPath | None) -> None:
        """Have the packets of an endpoint with a peer leave by another path from now on.

        None: the stack's routes decide. Errors: StackError (NOT_CONNECTED; INVALID where the
        path's link is closed).
        """
        check(self._lib.gs_path_set(self._handle, write_path(self._ffi, path)))

    def connect_result(self) -> None:
        """Return once the connection is open. Errors: BlockingIOError while it is not decided."""
        check(self._lib.gs_connect_result(self._handle))

    def accept(self) -> tuple[Endpoint, IPAddress, int]:
        """A client's connection, with its address and port."""
        remote, port = self._ffi.new("uint8_t[16]"), self._ffi.new("uint16_t *")
        handle = EndpointHandle(check(self._lib.gs_accept(self._handle, remote, port)))
        return Endpoint(self._loaded, handle, self._version), self._address(remote), port[0]

    def readable_fd(self) -> int:
        """A descriptor that polls readable while a receive or an accept would not wait.

        The endpoint's own: do not close it. It is level-triggered: do not read it.
        """
        return check(self._lib.gs_readable_fd(self._handle))

    def writable_fd(self) -> int:
        """Polls **readable** while a send would not wait, or a connect is decided."""
        return check(self._lib.gs_writable_fd(self._handle))

    def readiness_fd(self) -> int:
        """Both in one, as a socket polls: POLLIN as readable_fd(), POLLOUT for writing."""
        return check(self._lib.gs_readiness_fd(self._handle))

    def recv_into(self, buffer: Buffer) -> int:
        """Read into the buffer: bytes. TCP: 0 is the end of the stream. UDP: one datagram, cut."""
        # Released before anything is raised: a traceback that holds the cffi buffer of a
        # memoryview makes CPython crash when both are collected as one cycle.
        with self._ffi.from_buffer(buffer, require_writable=True) as raw:
            count = self._lib.gs_recv(self._handle, raw, len(raw))
        if count < 0:
            raise fault(count)
        return count

    def recv_from_into(self, buffer: Buffer) -> tuple[int, int, IPAddress, int]:
        """One datagram: bytes in the buffer, its whole length, its sender's address and port."""
        new = self._ffi.new
        full, remote, port = new("uint64_t *"), new("uint8_t[16]"), new("uint16_t *")
        with self._ffi.from_buffer(buffer, require_writable=True) as raw:
            count = self._lib.gs_recv_from(self._handle, raw, len(raw), full, remote, port)
        if count < 0:
            raise fault(count)
        return count, full[0], self._address(remote), port[0]

    def send(self, data: Buffer) -> int:
        """Hand over bytes; how many were taken (TCP: perhaps fewer than all)."""
        if type(data) is bytes:  # cffi takes it as it is, at half the cost
            count = self._lib.gs_send(self._handle, data, len(data))
        else:
            with self._ffi.from_buffer(data) as raw:
                count = self._lib.gs_send(self._handle, raw, len(raw))
        if count < 0:
            raise fault(count)
        return count

    def gather(self, buffer: Buffer, milliseconds: int) -> int:
        """As recv_into for TCP; waits for so long, and takes all that has come meanwhile."""
        with self._ffi.from_buffer(buffer, require_writable=True) as raw:
            count = self._lib.gs_gather(self._handle, raw, len(raw), milliseconds)
        if count < 0:
            raise fault(count)
        return count

    def pour(self, data: Buffer, milliseconds: int) -> int:
        """As send for TCP, and goes on as there is room: all of it, or what went in that time.

        One call, and so without the interpreter lock for as long.
        """
        with self._ffi.from_buffer(data) as raw:
            count = self._lib.gs_pour(self._handle, raw, len(raw), milliseconds)
        if count < 0:
            raise fault(count)
        return count

    def pour_from(self, descriptor: int, count: int, milliseconds: int) -> Poured:
        """As pour, of what a regular file or a pipe gives: no copy of it is made here.

        Ends early where a pipe is empty. Errors: SourceFailed where it cannot be read.
        """
        lost = self._ffi.new("uint64_t *")
        taken = self._lib.gs_pour_from(self._handle, descriptor, count, milliseconds, lost)
        if taken < 0 and taken != Code.AGAIN:
            raise fault(taken)
        return Poured(max(taken, 0), lost[0], taken == 0)

    def send_to(self, data: Buffer, address: IPAddress, port: int) -> int:
        """Send one datagram to an address; return its length."""
        to = facts.packed(address)
        with self._ffi.from_buffer(data) as raw:
            count = self._lib.gs_send_to(self._handle, raw, len(raw), address.version, to, port)
        if count < 0:
            raise fault(count)
        return count

    def bridge(self, descriptor: int) -> None:
        """Move bytes between the connection and one end of a socketpair, both ways to both ends.

        A byte must wait in it, written at the other end (gostack.h). The descriptor is
        the library's from now on. Errors: StackError (INVALID) unless it is an open TCP
        connection; the descriptor is the caller's then.
        """
        check(self._lib.gs_bridge(self._handle, descriptor))

    def bridged(self) -> bool:
        """True while a bridge moves its bytes."""
        return self._lib.gs_bridged(self._handle) > 0

    def abandoned(self) -> bool:
        """Of a bridge: has the program closed its end? The last bytes may still be on their way."""
        return self._lib.gs_bridged(self._handle) != 1

    def shutdown(self, how: int) -> None:
        """socket.SHUT_RD, SHUT_WR (FIN after what is queued) or SHUT_RDWR.

        Errors: StackError (NOT_CONNECTED) where the connection is over already.
        """
        # The library's numbers are a mask: 1 read, 2 write.
        result = self._lib.gs_shutdown(self._handle, how + 1)
        if result < 0:
            raise fault(result)

    def abort(self) -> None:
        """End at once, with a RST to a peer that is still there. close() is still to follow."""
        result = self._lib.gs_abort(self._handle)
        if result != Code.BAD_HANDLE:  # closed, perhaps by another thread just now
            check(result)

    def retire(self) -> None:
        """Shut down both sides of an endpoint that is no longer in use, and close its descriptors.

        Errors: StackError, if the connection is over.
        """
        check(self._lib.gs_retire(self._handle))

    def over(self) -> bool:
        """True once the peer counts on nothing any more: both sides ended, or reset."""
        return self.state() in facts.OVER

    def state(self) -> facts.State:
        """TCP's state; CLOSED after close()."""
        try:
            return facts.State(self._info().state)
        except StackError as error:
            if error.code is Code.BAD_HANDLE:  # closed, perhaps by another thread just now
                return facts.State.CLOSED
            raise

    def delivered(self) -> bool:
        """True once the peer has acknowledged all bytes and our FIN, or counts on nothing more."""
        try:
            info = self.info()
        except StackError as error:
            if error.code is Code.BAD_HANDLE:  # closed, perhaps by another thread just now
                return True
            raise
        return info.fin_acked or info.state in facts.OVER

    def leaving(self) -> bool:
        """UDP: True while packets may wait here, for a next hop's MAC or to be drained."""
        try:
            return self.info().leaving
        except StackError as error:
            if error.code is Code.BAD_HANDLE:  # closed, perhaps by another thread just now
                return False
            raise

    def info(self) -> facts.Info:
        """Facts of the moment."""
        return facts.read_info(self._info())

    def set_option(self, option: Option, value: int) -> None:
        """Set an option. Errors: StackError (INVALID)."""
        check(self._lib.gs_option_set(self._handle, option, value))

    def get_option(self, option: Option) -> int:
        """An option's value."""
        return check(self._lib.gs_option_get(self._handle, option))

    def _info(self) -> CData:
        raw = self._ffi.new("gs_info *")
        check(self._lib.gs_endpoint_info(self._handle, raw))
        return raw

    def _address(self, raw: object) -> IPAddress:
        return facts.address(self._version, bytes(self._ffi.buffer(raw)))

    def _let_go(self, handle: EndpointHandle) -> None:
        self._lib.gs_close(handle)
