"""One local UDP port on as many interfaces as its peers are reached by."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netkat.engine.listening import DatagramSession, claim, open_datagrams, places
from netkat.engine.path import Path, plan_path
from netkat.errors import BadArgument
from netkat.flow import IPAddress, Protocol
from netkat.host.listen_addresses import ListenAddress
from netkat.options import PathOptions

if TYPE_CHECKING:
    from netkat.engine.bypass import Bypass


class DatagramPort:
    """Opens a session on an interface when the first datagram wants to leave there."""

    def __init__(self, bypass: Bypass, options: PathOptions) -> None:
        self._bypass, self._options = bypass, options
        self._source: IPAddress | None = None
        self._port = 0
        self._lock = threading.Lock()
        self._towards: dict[IPAddress, tuple[DatagramSession, int]] = {}
        """By destination: the session, and the epoch in which its path was planned."""
        self.sessions: list[DatagramSession] = []

    def bind(self, local: IPAddress | None, port: int) -> None:
        """Take the port now, on one address of this host: of the default route's interface
        (IPv4), where none is named. Errors: PortTaken and other SetupErrors.
        """
        version = None if local else 4
        found = self._bypass.inside(
            lambda: places(local, interface=self._options.interface, version=version)
        )
        self._source = local
        self._open(found[0], port)

    def towards(self, destination: IPAddress, port: int) -> DatagramSession:
        """The session by which the kernel's routes reach the destination.

        Errors: NoRoute, OwnAddress, PortTaken and other SetupErrors.
        """
        with self._lock:
            session, epoch = self._towards.get(destination, (None, -1))
            if session is None or session.link_fault or not self._bypass.paths.current(epoch):
                epoch, path = self._bypass.inside(lambda: self._plan(destination, port))
                session = self._on(path)
                if session is not None:
                    hop, mac = path.next_hop, path.next_hop_mac
                    session.uplink.reach(path.source, destination, hop, mac)
                else:
                    session = self._from(path.source) or self._open_on(path, destination)
                self._towards[destination] = session, epoch
            return session

    def discard(self, session: DatagramSession) -> None:
        """Use a session no more, whose interface has failed; the next datagram opens another."""
        with self._lock:
            if session in self.sessions:
                self.sessions.remove(session)
        session.abort()

    def _plan(self, destination: IPAddress, port: int) -> tuple[int, Path]:
        if self._source is not None and self._source.version != destination.version:
            raise BadArgument(f"{destination} cannot be reached from {self._source}")
        epoch = self._bypass.paths.refresh()
        path = plan_path(
            destination,
            protocol=Protocol.UDP,
            remote_port=port,
            options=self._options._replace(source=self._source),
        )
        return epoch, path

    def _on(self, path: Path) -> DatagramSession | None:
        for session in self.sessions:
            if (session.path.link.index, session.flow.local) == (path.link.index, path.source):
                return session
        return None

    def _from(self, source: IPAddress) -> DatagramSession | None:
        """The session that has the port on an address: it stays on its interface."""
        return next((one for one in self.sessions if one.flow.local == source), None)

    def _open_on(self, path: Path, destination: IPAddress) -> DatagramSession:
        session = self._open(ListenAddress(path.link, path.source), self._port)
        session.uplink.reach(path.source, destination, path.next_hop, path.next_hop_mac)
        return session

    def _open(self, place: ListenAddress, port: int) -> DatagramSession:
        session = open_datagrams(claim(self._bypass, place, port, protocol=Protocol.UDP))
        self._port = session.flow.local_port
        self.sessions.append(session)
        return session
