"""A connection that is prepared: what dialling it needs, made while privileges are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netkat.errors import NetkatError, NoRoute

if TYPE_CHECKING:
    from netkat.engine.path import Path
    from netkat.engine.path_cache import Paths
    from netkat.engine.uplink import Uplink
    from netkat.flow import Flow, IPAddress, Protocol
    from netkat.host.port_reservation import PortReservation
    from netkat.options import PathOptions
    from netkat.stack import Endpoint, Stack


class FlowPlan(NamedTuple):
    """Plans the path of one flow. A call is made in the network namespace of the flow."""

    paths: Paths
    destination: IPAddress
    protocol: Protocol
    port: int
    options: PathOptions

    def __call__(self) -> Path:
        """Return the path that the flow has now. Errors: as Paths.plan()."""
        path = self.paths.plan(
            self.destination,
            protocol=self.protocol,
            remote_port=self.port,
            options=self.options,
        )
        claim = self.options.claim
        # The kernel has no route from a claimed address.
        return path if claim is None else path._replace(source=claim)


class Attempt(NamedTuple):
    """A flow that is ready to be dialled: port reserved, guard and filter set.

    A flow without a peer is for many ports of the destination (shared_port.py).
    """

    flow: Flow
    path: Path
    uplink: Uplink
    reservation: PortReservation
    address: IPAddress
    port: int
    plan: FlowPlan
    epoch: int
    """Paths.epoch when it was planned."""

    def notes(self) -> list[str]:
        """Return the lines for -v: the path."""
        return [f"{self.path.describe(self.address)}, port {self.flow.local_port}"]

    def warnings(self) -> list[str]:
        """Return the lines that are shown without -v."""
        if not self.path.past_local:
            return []
        return [
            f"{self.address} is an address of this host (as IPVS has it): sent to the network"
            " all the same, by the route that it has besides"
        ]

    def give_back(self) -> None:
        """Release the port, where the uplink is closed already; idempotent."""
        self.reservation.close()


def open_endpoint(stack: Stack, flow: Flow, path: Path, interface: str) -> Endpoint:
    """Return an endpoint that begins to connect by a path.

    Errors: StackError; NoRoute where the source address was removed since the path was planned.
    """
    try:
        return stack.connect(flow, path.for_stack())
    except NetkatError as error:
        from netkat.stack import Code, StackError

        if not isinstance(error, StackError) or error.code is not Code.UNREACHABLE:
            raise
        raise NoRoute(
            f"{flow.local} is no longer assigned to {interface}",
            hint="list addresses: ip -br address",
        ) from None
