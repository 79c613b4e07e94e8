"""The public Stack: the engine's Bypass with host names, timeouts and connection objects."""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING, overload

from netkat.engine.bypass import Bypass
from netkat.engine.wait import CONNECT_TIMEOUT
from netkat.errors import BadArgument, NetkatError
from netkat.flow import IPAddress, Protocol
from netkat.host.resolve import resolve
from netkat.options import PathOptions, parse_address, parse_next_hop
from netkat.resources import Closeable

if TYPE_CHECKING:
    from netkat.conn import TcpConnection, TcpListener, UdpConnection, UdpSocket
    from netkat.engine.session import Session

_LINGER = 2.0
"""Seconds that closed connections have to deliver what they hold when their stack ends: with
sockets the kernel would go on for them."""


class Stack(Closeable):
    """Wires, guards and a TCP/IP stack, opened once and shared by many connections.

    A wire is opened on each interface that the routes of its connections need,
    when the first of them needs it. Opening one takes CAP_NET_RAW, and
    CAP_NET_ADMIN with CAP_BPF for the best guard; MissingCapability names the one that
    is missing.

    >>> with netkat.Stack(via="172.30.0.12") as stack:
    ...     with stack.create_connection(("10.111.111.129", 80), timeout=2) as conn:
    ...         conn.getpeername()
    ('10.111.111.129', 80)

    ``interface`` and ``via`` (a next hop's address or MAC) hold
    for every connection of the stack; ``guard`` is a guard mode, as
    --guard. ``table`` is a routing table to look in, in place of the policy rules.
    ``netns`` is the network namespace to be in: a name of ip-netns(8), a path (it
    holds a slash) or a pid; names still resolve in the caller's own, and entering
    it takes CAP_SYS_ADMIN. ``claim`` is an address that this host does not have, used
    as a foreign client: netkat probes for it, then answers for it (AddressTaken if
    another host has it). ``qdisc_bypass`` goes around tc egress programs, and
    hides what is sent from this host's own captures.
    close() ends all connections and undoes all that was made.
    """

    def __init__(
        self,
        interface: str | None = None,
        *,
        via: IPAddress | bytes | str | None = None,
        table: int | str | None = None,
        guard: str = "auto",
        netns: str | int | None = None,
        claim: IPAddress | str | None = None,
        qdisc_bypass: bool = False,
    ) -> None:
        self._options = PathOptions(
            interface=interface,
            via=parse_next_hop(via) if isinstance(via, str) else via,
            table=table,
            netns=netns,
            claim=parse_address(claim, "claim") if isinstance(claim, str) else claim,
            guard=guard,
            qdisc_bypass=qdisc_bypass,
        )
        self._bypass = Bypass(self._options)
        self._bypass.load()
        # Else connections that are open at the end of the program would end without a RST.
        atexit.register(self.close)

    def create_connection(
        self,
        address: tuple[str, int | str],
        timeout: float | None = CONNECT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
    ) -> TcpConnection:
        """A TCP connection to (host, port); every address of the name is tried in turn.

        ``timeout`` is seconds for each address, and the connection's timeout
        afterwards, as socket.create_connection has it; None has no limit.
        ``source_address`` is (address, port) of this host; "" and 0 are any.

        Errors: Refused, NoAnswer, Unreachable and the other NetworkErrors of
        the last address tried; any SetupError.
        """
        session = self._dial(Protocol.TCP, address, timeout, source_address)
        return _tcp_connection()(session, timeout=timeout)

    @overload
    def open_datagram(
        self,
        address: tuple[str, int | str],
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> UdpConnection: ...

    @overload
    def open_datagram(
        self,
        address: None,
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> UdpSocket: ...

    def open_datagram(
        self,
        address: tuple[str, int | str] | None,
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> UdpConnection | UdpSocket:
        """A UDP endpoint connected to (host, port): the first address of the name with a route.

        With None it has no peer: sendto and recvfrom, by whichever interface leads to each.
        ``timeout`` is seconds that a recv may wait; None has no limit. ``source_address``
        is (address, port) of this host, taken at once; "" is the default route's
        interface's, 0 any port.

        Errors: any SetupError; PortTaken with its owner.
        """
        if address is None:
            return self._datagram_socket(timeout, source_address)
        from netkat.conn import UdpConnection

        session = self._dial(Protocol.UDP, address, timeout, source_address)
        return UdpConnection(session, timeout=timeout)

    def create_server(
        self, address: tuple[str, int], *, family: int = 0, backlog: int = 128
    ) -> TcpListener:
        """A TCP listener on (address of this host or "", port); port 0 takes a free one.

        "" is the address of the default route's interface (or of ``interface``): IPv4,
        or IPv6 with ``family`` socket.AF_INET6. Errors: PortTaken, BadArgument (also for an
        address that is not of the family) and other SetupErrors.
        """
        from netkat.conn import TcpListener
        from netkat.engine.listening import listen

        if self._options.claim is not None:
            raise BadArgument("a stack with a claimed address connects, it does not listen")
        host, port = address
        local = parse_address(host) if host else None
        version = _version(family)
        at = self._options.interface
        return TcpListener(
            listen(self._bypass, local, port, interface=at, backlog=backlog, version=version)
        )

    def close(self) -> None:
        """End all connections and undo all that was made. Idempotent.

        Connections that were closed before have up to two seconds for their peers to
        acknowledge what they still hold; those that are open end by RST.
        """
        atexit.unregister(self.close)
        self._bypass.close(linger=_LINGER)

    def path_options(self, source_address: tuple[str, int] | None) -> PathOptions:
        """Return the stack's options, with the source address and port of one connection."""
        host, port = source_address or ("", 0)
        source = parse_address(host) if host else None
        return self._options._replace(source=source, source_port=port).check()

    def begin(
        self,
        address: IPAddress,
        port: int,
        options: PathOptions,
        protocol: Protocol = Protocol.TCP,
    ) -> Session:
        """Send the SYN to one address (TCP), or open a UDP endpoint, without waiting."""
        return self._bypass.begin(
            self._bypass.prepare(address, port, protocol=protocol, options=options)
        )

    def is_established(self, session: Session) -> bool:
        """Whether a begun connection is open. Errors: any NetworkError, GuardFailed."""
        return self._bypass.is_established(session)

    def _dial(
        self,
        protocol: Protocol,
        address: tuple[str, int | str],
        timeout: float | None,
        source_address: tuple[str, int] | None,
    ) -> Session:
        last: NetkatError | None = None
        options = self.path_options(source_address)
        for target in resolve_targets(protocol, address, options):
            try:
                session = self.begin(*target, options, protocol)
                self._bypass.finish(session, timeout=timeout)
            except NetkatError as error:
                last = error
            else:
                return session
        assert last is not None, "there is at least one target"
        raise last

    def _datagram_socket(
        self, timeout: float | None, source_address: tuple[str, int] | None
    ) -> UdpSocket:
        from netkat.conn import UdpSocket
        from netkat.engine.datagrams import DatagramPort

        if self._options.claim is not None:
            raise BadArgument("a stack with a claimed address has peers, it does not listen")
        port = DatagramPort(self._bypass, self._options)
        if source_address is not None:
            host, number = source_address
            port.bind(parse_address(host) if host else None, number)
        return UdpSocket(
            port,
            lambda host, to: resolve(host, str(to), protocol=Protocol.UDP)[0][0],
            timeout=timeout,
        )


def resolve_targets(
    protocol: Protocol, address: tuple[str, int | str], options: PathOptions
) -> list[tuple[IPAddress, int]]:
    """Every address of (host, port), in the resolver's order. Errors: NameNotFound, BadArgument."""
    host, port = address
    version = options.source.version if options.source is not None else None
    return resolve(host, str(port), version=version, protocol=protocol)


@cache
def _tcp_connection() -> type[TcpConnection]:
    """Imported with the first connection, and found quickly for the thousand after it."""
    from netkat.conn import TcpConnection

    return TcpConnection


def _version(family: int) -> int | None:
    import socket

    found = {0: None, socket.AF_INET: 4, socket.AF_INET6: 6}
    if family not in found:
        raise BadArgument(f"family: {family} is neither socket.AF_INET nor AF_INET6")
    return found[family]
