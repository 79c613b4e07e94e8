"""What apps listen with: every address claimed first, opened when privileges are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from netkat.closing import Closing
from netkat.conn import TcpListener, UdpListener
from netkat.engine.bypass import Bypass
from netkat.engine.listening import Claim, claim, open_datagrams, open_listener, places
from netkat.errors import BadArgument, NetkatError, OwnAddress, PortTaken
from netkat.flow import IPAddress, Protocol
from netkat.host.nat import unseen
from netkat.options import DEFAULT_PATH, PathOptions

if TYPE_CHECKING:
    from netkat.engine.pump import Tap
    from netkat.host.local import Place
    from netkat.options import SocketOptions

_TRIES = 8
"""Free ports of one address that may turn out to be taken on another."""


class Server(Closing):
    """One port on some addresses, or on all of some interfaces (the default route's unless named).

    Of several addresses those that nobody on a wire could reach are left out, and told in
    ``notes``.

    Made, it holds wires, guards and the port. load() brings the Go library and its
    threads; open() needs no privileges any more. ``port`` 0 takes one that is free
    on every address.

    Errors: PortTaken with its owner, and any SetupError.
    """

    def __init__(
        self,
        addresses: Sequence[IPAddress],
        port: int,
        *,
        interfaces: Sequence[str] = (),
        version: int | None = None,
        protocol: Protocol = Protocol.TCP,
        take_over: bool = False,
        reply_mac: bool = False,
        options: PathOptions = DEFAULT_PATH,
        socket_options: SocketOptions | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._protocol, self._take_over, self._reply_mac = protocol, take_over, reply_mac
        self._claims: list[Claim] = []
        self._passed_over: list[str] = []
        self._bypass = Bypass(options, socket_options=socket_options, tap=tap)
        # Asked while privileges are held.
        self._unseen = None if take_over else unseen()
        try:
            wanted = self._bypass.inside(lambda: self._places(addresses, interfaces, version))
            self._claims = self._claim_all(wanted, port)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """The port, also where any was asked for."""
        return self._claims[0].port

    @property
    def places(self) -> list[tuple[IPAddress, str]]:
        """Every address that is listened on, and its interface's name."""
        return [(claim.place.address, claim.place.link.name) for claim in self._claims]

    @property
    def notes(self) -> list[str]:
        """For -v: each uplink's guard, and what could not be looked at."""
        uplinks = {id(claim.uplink): claim.uplink for claim in self._claims}.values()
        notes = [f"{uplink.link.name}: {uplink.guard.describe()}" for uplink in uplinks]
        if self._unseen is not None:
            notes.append(f"whether a NAT rule serves port {self.port} is not known: {self._unseen}")
        return notes + self._passed_over

    @property
    def warnings(self) -> list[str]:
        """What people should know unasked: from whom the port was taken."""
        return [
            f"port {claim.port} on {claim.place.address} ({claim.place.link.name}) is taken from"
            f" {claim.taken_from}: nothing that comes in there reaches it until this ends"
            for claim in self._claims
            if claim.taken_from is not None
        ]

    def drop_privileges(self) -> None:
        """Give up every capability of this thread, for good. Errors: SetupError."""
        self._bypass.drop_privileges()

    def load(self) -> None:
        """Load the Go library and start the pumps."""
        self._bypass.load()

    def open(self) -> list[TcpListener]:
        """A TCP listener an address, in the order of ``places``. Once."""
        return [TcpListener(open_listener(claim)) for claim in self._claims]

    def open_datagrams(self) -> list[UdpListener]:
        """The same for UDP. Once."""
        return [UdpListener(open_datagrams(claim)) for claim in self._claims]

    def close(self) -> None:
        """End every connection and undo all that was made; more than once is once."""
        self._bypass.close()
        for held in self._claims:
            held.give_back()

    def _places(
        self, addresses: Sequence[IPAddress], interfaces: Sequence[str], version: int | None
    ) -> list[Place]:
        found: list[Place] = []
        faults: list[NetkatError] = []
        for interface in interfaces or (None,):
            for address in addresses or (None,):
                try:
                    found += places(address, interface=interface, version=version)
                except (BadArgument, OwnAddress) as fault:
                    faults.append(fault)
        if not found:
            raise faults[0]
        self._passed_over = [fault.message for fault in faults]
        return found

    def _claim_all(self, wanted: Iterable[Place], port: int) -> list[Claim]:
        wanted = list(wanted)
        for attempt in range(_TRIES):
            found: list[Claim] = []
            try:
                for place in wanted:
                    found.append(self._claim(place, found[0].port if found else port))
                return found
            except PortTaken:
                for held in found:
                    held.release()
                if port or attempt == _TRIES - 1:
                    raise
            except BaseException:
                for held in found:
                    held.release()
                raise
        raise AssertionError("the last try raises")

    def _claim(self, place: Place, port: int) -> Claim:
        return claim(
            self._bypass,
            place,
            port,
            protocol=self._protocol,
            take_over=self._take_over,
            reply_mac=self._reply_mac,
        )
