"""Prepare with privileges, drop them, then load the library and start its threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from netkat.commands.report.frame_taps import Tap, Taps

if TYPE_CHECKING:
    from netkat.commands.connect.connect_request import ConnectRequest
    from netkat.commands.core import Core, Prepared
    from netkat.commands.listen.listen_request import ListenRequest
    from netkat.commands.signals import Signals
    from netkat.flow import IPAddress


C = TypeVar("C", bound="Core")
P = TypeVar("P", bound="Prepared")


def start(
    make: Callable[[Tap | None], C],
    prepare: Callable[[C], P],
    request: ConnectRequest | ListenRequest,
    say: Callable[[str], None],
    signals: Signals,
    undo: ExitStack,
) -> tuple[C, P]:
    """Make the core, prepare with it, drop privileges and load. ``undo`` closes what was made."""
    taps = undo.enter_context(Taps(request.show_frames, request.frame_file, say))
    core = make(taps.tap)
    undo.callback(core.close)
    prepared = prepare(core)
    signals.check()
    for warning in prepared.warnings():
        say(f"netkat: {warning}")
    for note in prepared.notes() + core.notes() if request.verbosity else ():
        say(f"netkat: {note}")
    core.drop_privileges()
    taps.start()
    core.load()
    return core, prepared


def open_core(request: ConnectRequest, tap: Tap | None) -> Core:
    """The stack of netkat, or kernel sockets where --kernel asks for them."""
    if request.kernel:
        from netkat.kernel_sockets.sockets import KernelSockets

        return KernelSockets(request.path, socket_options=request.socket_options)
    from netkat.engine.bypass import Bypass

    return Bypass(request.path, socket_options=request.socket_options, tap=tap)


def resolve(request: ConnectRequest, signals: Signals) -> list[tuple[IPAddress, int]]:
    """Resolve the request's host, or its proxy. Errors: as resolve_within()."""
    first = request.proxy or request
    return resolve_within(first.host, first.port, request.ip_version, request, signals)


def resolve_within(
    host: str, service: str, version: int | None, request: ConnectRequest, signals: Signals
) -> list[tuple[IPAddress, int]]:
    """Addresses and port, within the request's time. Errors: as netkat.host.resolve."""
    from netkat.host.resolve import resolve

    found = resolve(
        host,
        service,
        version=version,
        protocol=request.protocol,
        numeric=request.numeric,
        deadline=None if request.wait is None else time.monotonic() + request.wait,
        wakeup_fd=signals.fd,
    )
    signals.check()
    return found
