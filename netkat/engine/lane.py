"""One local port towards one destination: any of its ports may be dialled, hundreds at once.

A port to reserve, a filter and a guard's entry for each would be most of a scan's
time. With one for all, each probe costs an endpoint in the stack and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.engine.session import Session
from netkat.flow import Flow

if TYPE_CHECKING:
    from netkat.engine.bypass import Attempt
    from netkat.stack import Endpoint


class Lane:
    """Begins sessions on an attempt's local port, from when the library is loaded.

    The attempt is the bypass's to close.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self._open = self.proved = False

    def begin(self, port: int) -> Session:
        """Dial a port: its handshake (TCP) is not over, and nothing is sent before flush().

        Errors: StackError.
        """
        from netkat.stack import Option

        attempt = self.attempt
        path, uplink, mine = attempt.path, attempt.uplink, attempt.flow
        if not self._open:
            uplink.reach(path.source, attempt.address, path.next_hop, path.next_hop_mac)
            uplink.stack.set_option(Option.SHARE_PORT, 1)
            self._open = True
        flow = Flow(mine.protocol, mine.local, mine.local_port, attempt.address, port)
        session = LaneSession(uplink.connect(flow, path.mtu), self, flow)
        uplink.open(session)
        return session


class LaneSession(Session):
    """One of many on a local port, which is the lane's to give back."""

    def __init__(self, endpoint: Endpoint, lane: Lane, flow: Flow) -> None:
        attempt = lane.attempt
        super().__init__(endpoint, attempt.uplink, flow, attempt.path, None)
        self._lane = lane

    def prove(self) -> None:
        """As Session.prove, once a lane. Errors: GuardFailed."""
        if self._lane.proved:
            return
        try:
            self.uplink.prove(self._lane.attempt.flow)
        except BaseException:
            self.abort()
            raise
        self._lane.proved = True

    def release(self) -> None:
        """For the uplink alone, after the endpoint is gone: nothing is this one's."""
