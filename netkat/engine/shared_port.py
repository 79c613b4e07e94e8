"""One local port for all ports of one destination, hundreds at the same time.

Reserving a port and changing filter and guard for each would be most of a scan's
time. With one local port, each probe costs an endpoint in the stack and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.engine.session import Session
from netkat.flow import Flow

if TYPE_CHECKING:
    from netkat.engine.attempt import Attempt
    from netkat.stack import Endpoint


class SharedPort:
    """Begins sessions on an attempt's local port, once the library is loaded.

    The Bypass closes the attempt.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self._open = self.proved = False

    def begin(self, port: int) -> Session:
        """Begin to connect to a port of the destination; flush() sends the first packet.

        Errors: StackError, NoRoute.
        """
        from netkat.stack import Option

        attempt = self.attempt
        path, uplink, shared = attempt.path, attempt.uplink, attempt.flow
        if not self._open:
            uplink.stack.set_option(Option.SHARE_PORT, 1)
            self._open = True
        flow = Flow(shared.protocol, shared.local, shared.local_port, attempt.address, port)
        session = SharedPortSession(uplink.connect(flow, path), self, flow)
        uplink.open(session)
        return session


class SharedPortSession(Session):
    """One of many on a local port that the Bypass releases."""

    def __init__(self, endpoint: Endpoint, shared: SharedPort, flow: Flow) -> None:
        attempt = shared.attempt
        super().__init__(endpoint, attempt.uplink, flow, attempt.path, None)
        self._shared = shared

    def prove(self) -> None:
        """As Session.prove, once for a shared port. Errors: GuardFailed."""
        if self._shared.proved:
            return
        try:
            self.uplink.prove(self._shared.attempt.flow)
        except BaseException:
            self.abort()
            raise
        self._shared.proved = True

    def release(self) -> None:
        """Do nothing: the port belongs to all sessions on it."""
