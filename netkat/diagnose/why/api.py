"""``netkat.why``."""

from __future__ import annotations

from ipaddress import ip_address

from netkat.diagnose.why.evidence import Evidence
from netkat.diagnose.why.request import TIMEOUT, Request, datagram_for
from netkat.diagnose.why.result import WhyResult
from netkat.errors import BadArgument
from netkat.flow import IPAddress, Protocol


def why(
    host: str,
    port: int | str,
    *,
    udp: bool = False,
    version: int | None = None,
    timeout: float = TIMEOUT,
    count: int = 1,
    claim: str | None = None,
    netns: str | int | None = None,
    interface: str | None = None,
    send: bytes | None = None,
    read_only: bool = False,
    incoming: bool = False,
    client: str | None = None,
    wait: float | None = None,
) -> WhyResult:
    """Explain what this host does to a connection to ``host`` and ``port``.

    It connects through the kernel and past the host's rules, compares, and names what intercepted
    or blocked the kernel's connection. An nftables table that belongs to this process marks the
    probe for tracing and goes with it; with ``read_only`` nothing is written and nothing sent.
    ``timeout`` is seconds for each of the two connections, ``count`` the number of runs.
    ``claim`` is an address for netkat's own connection, ``netns`` a namespace as in Stack.
    With ``incoming`` the question is what this host does with a packet of an external client that
    arrives on ``interface``: one is made to arrive and followed, and nothing of it leaves.
    ``client`` is the client's address; ``wait`` is seconds to wait for a real packet of it, which
    is followed in place of an injected one. A UDP probe sends ``send``; ports 53 and 123 have a
    harmless query by default.

    >>> result = netkat.why("10.111.111.129", 80)
    >>> print(result.verdict, result.exit_status)
    blocked_output 1
    >>> result.rules
    ('ip filter: OUTPUT: policy drop',)

    Errors: any SetupError.
    """
    protocol = Protocol.UDP if udp else Protocol.TCP
    address, number = _resolved(host, port, version, protocol)
    request = Request(
        host,
        address,
        number,
        protocol,
        netns=netns,
        timeout=timeout,
        claim=claim,
        payload=datagram_for(number, send) if udp and not read_only and wait is None else b"",
        read_only=read_only,
        count=count,
        interface=interface,
        incoming=incoming,
        client=None if client is None else _address(client),
        wait=wait,
    )
    if wait is not None and (client is None or not incoming):
        raise BadArgument("wait requires incoming and client")
    from netkat.diagnose.why.verdict import conclude

    evidence = _collect(request)
    return WhyResult(conclude(evidence), evidence)


def _collect(request: Request) -> Evidence:
    from netkat.diagnose.why import lookup_only, receiver, sender, waiting

    if request.read_only:
        return lookup_only.collect(request)
    if request.wait is not None:
        return waiting.collect(request)
    return receiver.collect(request) if request.incoming else sender.collect(request)


def _resolved(
    host: str, port: int | str, version: int | None, protocol: Protocol
) -> tuple[IPAddress, int]:
    from netkat.host.resolve import resolve

    found = list(resolve(host, str(port), version=version, protocol=protocol))
    if not found:
        raise BadArgument(f"no address of {host} fits")
    return found[0]


def _address(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise BadArgument(f"{text}: not an IP address") from None
