"""-x: the proxy of a connection, and the destination that it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from netkat.commands.report.status_lines import Target
from netkat.conn.proxy_handshake import Proxy, ProxyKind, tunnel
from netkat.errors import BadArgument, NameNotFound
from netkat.flow import IPAddress, Protocol

if TYPE_CHECKING:
    from netkat.conn import TcpConnection

__all__ = ["ProxiedTarget", "Proxy", "ProxyKind", "ProxySettings"]

Resolve = Callable[[str, str, int | None], list[tuple[IPAddress, int]]]
"""Host, service and IP version (None: either) to addresses and ports."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The proxy: host, port and protocol.

    ``resolver`` finds the destination's address: "remote" the proxy, "local" this host,
    "both" this host or else the proxy, "none" nothing.
    """

    host: str
    port: str
    proxy: Proxy
    resolver: str = "remote"

    def tunnel(
        self, host: str, service: str, version: int | None, resolve: Resolve
    ) -> ProxiedTarget:
        """To ``host``, found here where that is asked for. Errors: NameNotFound, BadArgument."""
        address = _literal(host)
        # The resolver's words for a service that nobody knows, and no name asked for.
        port = resolve("0.0.0.0", service, None)[0][1]
        if address is None and self.resolver == "none":
            raise NameNotFound(f"{host}: not an address, and --proxy-dns none asks no resolver")
        only_ipv4 = self.proxy.kind is ProxyKind.SOCKS4
        if address is None and self.resolver in ("local", "both"):
            try:
                address = resolve(host, service, 4 if only_ipv4 else version)[0][0]
            except NameNotFound:
                if self.resolver == "local":
                    raise
        if isinstance(address, IPv6Address):
            if address.scope_id is not None:
                raise BadArgument(f"{host}: a proxy cannot use an address with a zone")
            if only_ipv4:
                raise BadArgument(
                    f"{host}: SOCKS4 supports IPv4 only", hint="use -X 5 or -X connect"
                )
        return ProxiedTarget(self, host, str(address or host), port)


@dataclass(frozen=True, slots=True)
class ProxiedTarget:
    """A destination behind a proxy: ``name`` is the address or host name that the proxy gets."""

    proxy: ProxySettings
    host: str
    name: str
    port: int

    def proxy_target(self, address: IPv4Address | IPv6Address, port: int, numeric: bool) -> Target:
        """Return the proxy as the target of an attempt."""
        return Target(self.proxy.host, address, port, Protocol.TCP, numeric, role="the proxy")

    def destination_via(self, proxy: Target) -> Target:
        """Return the destination behind the proxy."""
        shown = self.host if self.host == self.name else f"{self.host} ({self.name})"
        return Target(shown, proxy.address, self.port, Protocol.TCP, proxy.numeric, proxy=proxy)

    def open(self, conn: TcpConnection, *, timeout: float, cancel_fd: int) -> str:
        """Have the proxy connect on; a line for -v. Errors: as tunnel(), and it is aborted then."""
        proxy = self.proxy.proxy
        try:
            tunnel(conn, proxy, self.name, self.port, timeout=timeout, cancel_fd=cancel_fd)
        except BaseException:
            conn.abort()
            raise
        address, port = conn.getpeername()[:2]
        shown = f"[{address}]" if ":" in address else address
        return f"connected through {proxy.kind.value} proxy {shown}:{port}"


def _literal(host: str) -> IPAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
