"""All that needs privileges, then none any more, then the library and its threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from netkat.apps.taps import Taps

if TYPE_CHECKING:
    from netkat._api import Outbound
    from netkat.apps.listen_request import ListenRequest
    from netkat.apps.request import Request
    from netkat.apps.signals import Signals
    from netkat.flow import IPAddress


class Held(Protocol):
    """What a Dialer, a Scanner and a Server have in common."""

    @property
    def warnings(self) -> list[str]: ...
    @property
    def notes(self) -> list[str]: ...
    def drop_privileges(self) -> None: ...
    def load(self) -> None: ...
    def close(self) -> None: ...


H = TypeVar("H", bound=Held)
O = TypeVar("O", bound="Outbound")  # noqa: E741


def bring_up(
    make: Callable[..., H],
    request: Request | ListenRequest,
    say: Callable[[str], None],
    signals: Signals,
    undo: ExitStack,
) -> H:
    """``make`` takes a tap. ``undo`` closes what it made."""
    taps = undo.enter_context(Taps(request.show_frames, request.frame_file, say))
    made = make(tap=taps.tap)
    undo.callback(made.close)
    signals.check()
    for warning in made.warnings:
        say(f"netkat: {warning}")
    for note in made.notes if request.verbosity else ():
        say(f"netkat: {note}")
    made.drop_privileges()
    taps.start()
    made.load()
    return made


def resolve(request: Request, signals: Signals) -> list[tuple[IPAddress, int]]:
    """Where the connection goes first: the request's host, or its proxy. Errors: as look_up()."""
    first = request.through or request
    return look_up(first.host, first.port, request.ip_version, request, signals)


def look_up(
    host: str, service: str, version: int | None, request: Request, signals: Signals
) -> list[tuple[IPAddress, int]]:
    """Addresses and port, within the request's time. Errors: as netkat.host.resolve."""
    from netkat import _api

    found = _api.resolve(
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


def make_ready(
    make: Callable[..., O],
    request: Request,
    say: Callable[[str], None],
    signals: Signals,
    undo: ExitStack,
) -> O:
    """``make`` is a Dialer or a Scanner, but for what the request says of the way."""
    complete = partial(
        make,
        protocol=request.protocol,
        options=request.path,
        socket_options=request.socket_options,
        kernel=request.kernel,
    )
    return bring_up(complete, request, say, signals, undo)
