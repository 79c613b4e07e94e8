"""libgostack, loaded once, with the types of gostack.h. Nothing else imports the extension."""

from __future__ import annotations

import importlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType, NoReturn, Protocol, cast

from netkat.errors import LibraryMismatch, LibraryMissing, SetupError
from netkat.stack.c_library import require_glibc
from netkat.system_calls import require_address_space, require_descriptors, require_threads

if TYPE_CHECKING:
    from typing_extensions import Buffer

CData = Any
"""A cffi object: it has no type of its own that Python could check."""
StackHandle = NewType("StackHandle", int)
EndpointHandle = NewType("EndpointHandle", int)

LIBRARY = Path(__file__).with_name("libgostack.so")
_DESCRIPTORS = 8
"""For the library's file, Go's epoll and eventfd, and a stack. The Go runtime aborts the process
where it cannot open its own."""
_ADDRESS_SPACE = 2000 << 20
"""Bytes that Go's runtime and the stacks of its threads reserve (1,670 MiB measured, and 76 MiB
for each thread that it starts later). It aborts the process where it cannot."""
_THREADS = 12
"""Threads that Go's runtime and a stack start (8 to 10 measured). Go aborts the process where it
cannot start one of its own."""
_BUILD = "python3 build.py build"


class Ffi(Protocol):
    """What is used of cffi's FFI object."""

    NULL: CData

    def new(self, kind: str, init: object = ...) -> CData: ...
    def from_buffer(self, data: Buffer, *, require_writable: bool = ...) -> CData: ...
    def buffer(self, data: CData, size: int = ...) -> Buffer: ...


class Library(Protocol):
    """The calls of gostack.h; each returns its result or a negative code."""

    def gs_abi(self) -> int: ...
    def gs_live_handles(self) -> int: ...
    def gs_last_panic(self, text: CData, n: int) -> int: ...

    def gs_stack_new(self, link: CData) -> int: ...
    def gs_stack_close(self, stack: StackHandle) -> int: ...
    def gs_address_add(
        self, stack: StackHandle, version: int, address: bytes, assigned: bool
    ) -> int: ...
    def gs_link_set(self, stack: StackHandle, link: CData) -> int: ...
    def gs_address_remove(self, stack: StackHandle, version: int, address: bytes) -> int: ...
    def gs_address_claim(self, stack: StackHandle, version: int, address: bytes) -> int: ...
    def gs_route_add(
        self, stack: StackHandle, version: int, network: bytes, length: int, gateway: CData
    ) -> int: ...
    def gs_neighbor_add(
        self, stack: StackHandle, version: int, address: bytes, mac: bytes
    ) -> int: ...
    def gs_neighbor_remove(self, stack: StackHandle, version: int, address: bytes) -> int: ...
    def gs_routes_set(self, stack: StackHandle, routes: CData, n: int) -> int: ...
    def gs_answer_where_it_came_from(self, stack: StackHandle) -> int: ...
    def gs_stack_statistics(self, stack: StackHandle, out: CData) -> int: ...

    def gs_outgoing_fd(self, stack: StackHandle) -> int: ...
    def gs_arm(self, stack: StackHandle, messages: CData, n: int) -> int: ...
    def gs_inject(self, stack: StackHandle, messages: CData, n: int) -> int: ...
    def gs_drain(self, stack: StackHandle, messages: CData, most: int) -> int: ...

    def gs_attach(
        self,
        stack: StackHandle,
        descriptor: int,
        incoming: CData,
        n_incoming: int,
        outgoing: CData,
        n_outgoing: int,
        tally: CData,
    ) -> int: ...
    def gs_detach(self, stack: StackHandle) -> int: ...
    def gs_flush(self, stack: StackHandle) -> int: ...
    def gs_wait(
        self, stack: StackHandle, descriptors: CData, n: int, timeout_ms: int, flags: int
    ) -> int: ...
    def gs_reside(self, stack: StackHandle, descriptors: CData, n: int, timeout_ms: int) -> int: ...

    def gs_connect(
        self,
        stack: StackHandle,
        protocol: int,
        version: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        path: CData,
    ) -> int: ...
    def gs_path_set(self, endpoint: EndpointHandle, path: CData) -> int: ...
    def gs_connect_result(self, endpoint: EndpointHandle) -> int: ...
    def gs_bind(self, stack: StackHandle, version: int, local: bytes, local_port: int) -> int: ...
    def gs_listen(
        self, stack: StackHandle, version: int, local: bytes, local_port: int, backlog: int
    ) -> int: ...
    def gs_accept(self, listener: EndpointHandle, remote: CData, remote_port: CData) -> int: ...

    def gs_readable_fd(self, endpoint: EndpointHandle) -> int: ...
    def gs_writable_fd(self, endpoint: EndpointHandle) -> int: ...
    def gs_recv(self, endpoint: EndpointHandle, buffer: CData, n: int) -> int: ...
    def gs_recv_from(
        self,
        endpoint: EndpointHandle,
        buffer: CData,
        n: int,
        full: CData,
        remote: CData,
        remote_port: CData,
    ) -> int: ...
    def gs_send(self, endpoint: EndpointHandle, buffer: CData, n: int) -> int: ...
    def gs_gather(
        self, endpoint: EndpointHandle, buffer: CData, n: int, milliseconds: int
    ) -> int: ...
    def gs_pour(
        self, endpoint: EndpointHandle, buffer: CData, n: int, milliseconds: int
    ) -> int: ...
    def gs_pour_from(
        self, endpoint: EndpointHandle, descriptor: int, n: int, milliseconds: int, lost: CData
    ) -> int: ...
    def gs_send_to(
        self,
        endpoint: EndpointHandle,
        buffer: CData,
        n: int,
        version: int,
        remote: bytes,
        remote_port: int,
    ) -> int: ...
    def gs_readiness_fd(self, endpoint: EndpointHandle) -> int: ...
    def gs_bridge(self, endpoint: EndpointHandle, descriptor: int) -> int: ...
    def gs_bridged(self, endpoint: EndpointHandle) -> int: ...
    def gs_bridges_fd(self, stack: StackHandle) -> int: ...
    def gs_shutdown(self, endpoint: EndpointHandle, how: int) -> int: ...
    def gs_retire(self, endpoint: EndpointHandle) -> int: ...
    def gs_close(self, endpoint: EndpointHandle) -> int: ...
    def gs_abort(self, endpoint: EndpointHandle) -> int: ...
    def gs_endpoint_info(self, endpoint: EndpointHandle, out: CData) -> int: ...
    def gs_option_set(
        self, endpoint_or_stack: EndpointHandle | StackHandle, option: int, value: int
    ) -> int: ...
    def gs_option_get(self, endpoint: EndpointHandle, option: int) -> int: ...
    def gs_observe(
        self,
        stack: StackHandle,
        protocol: int,
        version: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        out: CData,
    ) -> int: ...

    def gs_capture_records(
        self,
        packets: CData,
        size: int,
        count: int,
        form: int,
        interface_number: int,
        out: CData,
        room: int,
    ) -> int: ...


CALLS = tuple(name for name in vars(Library) if name.startswith("gs_"))


class Loaded:
    """The library's calls as attributes of a plain object, which are found faster than cffi's own.

    In a forked child each of them raises: the Go runtime's threads are not
    there, so a call into it would wait for ever.
    """

    def __init__(self, ffi: Ffi, library: object) -> None:
        self.ffi = ffi
        self.usable = True
        for name in CALLS:
            setattr(self, name, getattr(library, name))
        self.calls = cast(Library, self)
        """Itself, as what it can do."""
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.usable = False
        for name in CALLS:
            setattr(self, name, refuse_forked)


_lock = threading.Lock()
_loaded: Loaded | None = None


def load() -> Loaded:
    """Load libgostack, once. From then on the process has the Go runtime's threads.

    Errors: LibraryMissing, LibraryMismatch; SetupError in a forked child, and in a subinterpreter.
    """
    global _loaded
    loaded = _loaded
    if loaded is None:
        with _lock:
            if _loaded is None:
                require_glibc()
                _refuse_subinterpreter()
                _loaded = open_library(LIBRARY)
            loaded = _loaded
    if not loaded.usable:
        refuse_forked()
    return loaded


def open_library(path: Path) -> Loaded:
    """Load the library at ``path`` and see that it speaks this package's ABI.

    Errors: LibraryMissing, LibraryMismatch.
    """
    try:
        from netkat.stack import _gostack
    except ImportError as error:
        if error.name not in (None, "netkat.stack", "netkat.stack._gostack"):
            raise
        raise LibraryMissing("netkat/stack/_gostack.py is not built", hint=_BUILD) from None
    if not path.exists():
        raise LibraryMissing(f"{path.name} is not built", hint=_BUILD)
    require_descriptors(_DESCRIPTORS, "load the TCP/IP stack")
    require_address_space(_ADDRESS_SPACE, "load the TCP/IP stack")
    require_threads(_THREADS, "load the TCP/IP stack")
    ffi: Any = _gostack.ffi
    try:
        library = ffi.dlopen(str(path))
        spoken, wanted = library.gs_abi(), library.GS_ABI
        if spoken == wanted:
            return Loaded(ffi, library)
    except (OSError, AttributeError, ffi.error) as error:
        raise LibraryMismatch(f"{path.name} cannot be loaded: {error}", hint=_BUILD) from None
    raise LibraryMismatch(
        f"{path.name} speaks ABI {spoken}, this netkat speaks {wanted}", hint=_BUILD
    )


def live_handles() -> int:
    """Stacks and endpoints that are open, of the whole process; 0 where no library is loaded."""
    return _loaded.calls.gs_live_handles() if _loaded is not None else 0


def last_panic() -> str:
    """The library's report of its last panic: the reason, and where it was."""
    loaded = load()
    room = loaded.calls.gs_last_panic(loaded.ffi.NULL, 0)
    text = bytearray(room)
    count = loaded.calls.gs_last_panic(loaded.ffi.from_buffer(text, require_writable=True), room)
    return text[: min(room, count)].decode(errors="replace")


def require_process() -> None:
    """What load() asks of the process, without loading. Errors: SetupError."""
    if _loaded is None:
        require_glibc()
        _refuse_subinterpreter()
    elif not _loaded.usable:
        refuse_forked()


def refuse_forked(*_: object) -> NoReturn:
    """Refuse calls in a forked child. Errors: SetupError."""
    raise SetupError(
        "this process was forked after netkat had loaded its stack, and cannot use it",
        hint="start children by exec (subprocess, multiprocessing's spawn), or fork first",
    )


def _refuse_subinterpreter() -> None:
    """The library is the process's, and so are its threads, its handles and what forks clear."""
    # PEP 734's module of C, and its name before Python 3.13.
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters: Any = importlib.import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise SetupError(
                "netkat cannot run in a subinterpreter",
                hint="use it in the main one, or in a process of its own (subprocess)",
            )
        return
