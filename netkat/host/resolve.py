"""Resolve names and services with the system's resolver, with a timeout.

getaddrinfo(3) cannot be interrupted: Python runs no signal handler until it
returns, which may take 30 s if a name server does not reply. So it runs in a
daemon thread, and the caller waits for a descriptor. Numeric addresses do not
use it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from netkat.errors import BadArgument, NameNotFound
from netkat.flow import IPAddress, Protocol

Target = tuple[IPAddress, int]

_WORDS = {
    socket.EAI_NONAME: "no such name",
    socket.EAI_AGAIN: "no reply from the DNS server",
    socket.EAI_SERVICE: "no such service",
    socket.EAI_FAIL: "the resolver failed",
}
_HINTS = {
    socket.EAI_AGAIN: "check the DNS servers in /etc/resolv.conf",
    socket.EAI_SERVICE: "use a port number, or a name of /etc/services",
}
_NO_ADDRESS = getattr(socket, "EAI_NODATA", -5), getattr(socket, "EAI_ADDRFAMILY", -9)
_HIGHEST_PORT = 65535


def resolve(
    host: str,
    service: str,
    *,
    version: int | None = None,
    protocol: Protocol = Protocol.TCP,
    numeric: bool = False,
    deadline: float | None = None,
    wakeup_fd: int | None = None,
) -> list[Target]:
    """Return distinct (address, port) pairs in the system's order (RFC 6724), with zones.

    ``version`` 4 or 6 limits the result; ``numeric`` uses no resolver;
    ``deadline`` is in time.monotonic()'s seconds.
    Errors: NameNotFound with the resolver's message, BadArgument; InterruptedError
    when ``wakeup_fd`` polls readable first (its bytes are left there).
    """
    if not host:
        raise BadArgument("empty host name")
    port = _number(service)
    address = _literal(host)
    if address is not None and port is not None:
        return [(_of_version(address, version), port)]
    if numeric and address is None:
        raise NameNotFound(f"{host}: not an IP address (-n disables name resolution)")
    if numeric and port is None:
        raise NameNotFound(f"{service}: not a port number (-n disables service names)")
    if not service.isascii():  # RFC 6335 5.1; getaddrinfo would blame the host
        raise NameNotFound(
            f"{service}/{protocol}: no such service", hint=_HINTS[socket.EAI_SERVICE]
        )
    question = _Question(host, service, version, protocol)
    answers = question.wait(deadline, wakeup_fd)
    found = list(dict.fromkeys(_target(answer) for answer in answers))
    return [(_of_version(address, version), number) for address, number in found]


class _Question:
    """One getaddrinfo() call in a thread, which may run on after the caller stopped waiting."""

    def __init__(self, host: str, service: str, version: int | None, protocol: Protocol) -> None:
        self._host, self._service, self._protocol = host, service, protocol
        self._family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version or 0, socket.AF_UNSPEC)
        self._answers: list[tuple[object, ...]] = []
        self._failure: BaseException | None = None
        self._done, self._finished = os.pipe2(os.O_CLOEXEC)
        threading.Thread(target=self._ask, name=f"resolve {host}", daemon=True).start()

    def wait(self, deadline: float | None, wakeup_fd: int | None) -> list[tuple[object, ...]]:
        """The answers. Errors: as resolve()."""
        poll = select.poll()
        for descriptor in (self._done, wakeup_fd):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        try:
            ready = [descriptor for descriptor, _ in poll.poll(left)]
        finally:
            os.close(self._done)
        if not ready:
            raise NameNotFound(
                f"{self._host}: name resolution timed out",
                hint=_HINTS[socket.EAI_AGAIN],
            )
        if self._done not in ready:
            raise InterruptedError(f"while resolving {self._host}")
        if self._failure is not None:
            raise self._fault(self._failure)
        return self._answers

    def _ask(self) -> None:
        kind = socket.SOCK_STREAM if self._protocol is Protocol.TCP else socket.SOCK_DGRAM
        try:
            self._answers = list(
                socket.getaddrinfo(self._host, self._service, self._family, kind, self._protocol)
            )
        except (OSError, UnicodeError) as failure:
            self._failure = failure
        finally:
            # End of file is the signal: it is safe even if the caller no longer waits.
            os.close(self._finished)

    def _fault(self, failure: BaseException) -> BaseException:
        if isinstance(failure, UnicodeError):
            reason = failure.__cause__ or failure
            return NameNotFound(f"{self._host}: not a host name ({reason})")
        if not isinstance(failure, socket.gaierror) or failure.errno is None:
            return NameNotFound(f"{self._host}: {failure}")
        if failure.errno == socket.EAI_SERVICE:
            what = f"{self._service}/{self._protocol}"
        elif failure.errno in _NO_ADDRESS:
            wanted = {socket.AF_INET: " IPv4", socket.AF_INET6: " IPv6"}.get(self._family, "")
            return NameNotFound(f"{self._host}: the name has no{wanted} address")
        else:
            what = self._host
        words = _WORDS.get(failure.errno)
        text = f"{words} ({failure.strerror})" if words else failure.strerror
        return NameNotFound(f"{what}: {text}", hint=_HINTS.get(failure.errno))


@lru_cache(maxsize=1024)
def _number(service: str) -> int | None:
    if not (service.isascii() and service.isdigit()):
        return None
    port = int(service)
    if not 0 < port <= _HIGHEST_PORT:
        raise BadArgument(f"invalid port {service} (1 to {_HIGHEST_PORT})")
    return port


@lru_cache(maxsize=1024)  # of a program that connects again and again
def _literal(host: str) -> IPAddress | None:
    try:
        return _unmapped(ip_address(host))
    except ValueError:
        return None


def _unmapped(address: IPAddress) -> IPAddress:
    # On the wire ::ffff:192.0.2.1 is plain IPv4.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _of_version(address: IPAddress, version: int | None) -> IPAddress:
    if version is not None and address.version != version:
        raise BadArgument(f"{address} is not an IPv{version} address")
    return address


def _target(answer: tuple[object, ...]) -> Target:
    sockaddr = answer[4]
    assert isinstance(sockaddr, tuple)
    if len(sockaddr) == 2:
        return IPv4Address(sockaddr[0]), sockaddr[1]
    host, port, _, scope = sockaddr
    plain = str(host).partition("%")[0]
    if scope:
        plain += f"%{_interface_name(scope)}"
    return _unmapped(IPv6Address(plain)), port


def _interface_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
