"""``netkat why``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.cli import options_shared as shared
from netkat.cli import options_why as options
from netkat.cli import parse
from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.diagnose.why.result import WhyResult


def why(
    host: options.Host,
    ports: options.Ports,
    udp: shared.Udp = False,
    ipv4: shared.IPv4 = False,
    ipv6: shared.IPv6 = False,
    incoming: options.Incoming = False,
    client: options.Client = None,
    wait: options.Wait = None,
    interface: options.Interface = None,
    claim: shared.Claim = None,
    netns: shared.Netns = None,
    pod: shared.Pod = None,
    container: shared.Container = None,
    timeout: options.Timeout = None,
    count: options.Count = None,
    send: options.Send = None,
    read_only: options.ReadOnly = False,
    trace: options.Trace = False,
    as_json: options.Json = False,
    verbose: shared.Verbose = 0,
) -> int:
    """Explain what this host does to a connection; exit 0 works, 1 finding, 3 undecided.

    It connects through the kernel and past the host's rules, compares, and names the rule that
    intercepted or blocked the kernel's connection. With --incoming one packet of an external
    client arrives at this host and is followed through its rules; nothing of it leaves.
    An nftables table that belongs to this process exists meanwhile.
    """
    from netkat.cli.options_netns import namespace
    from netkat.diagnose.why.api import why as explain
    from netkat.diagnose.why.request import TIMEOUT

    if ipv4 and ipv6:
        raise BadArgument("-4 and -6 cannot be used together")
    for given, option in ((client, "--client"), (interface, "-i")):
        if given is not None and not incoming:
            raise BadArgument(f"{option} requires --incoming")
    if wait is not None and client is None:
        raise BadArgument("--wait requires --incoming and --client")
    if send is not None and not udp:
        raise BadArgument("--send requires -u")
    if claim is not None and incoming:
        raise BadArgument("--claim cannot be used with --incoming", hint="use --client")
    results = []
    for port in ports:
        result = explain(
            parse.host(host),
            parse.destination_port(port),
            udp=udp,
            version=4 if ipv4 else 6 if ipv6 else None,
            timeout=TIMEOUT if timeout is None else parse.seconds(timeout, "-w"),
            count=1 if count is None else parse.count(count, "--count"),
            claim=None if claim is None else str(parse.address(claim, "--claim")),
            netns=namespace(netns, pod, container),
            interface=None if interface is None else parse.interface(interface),
            send=None if send is None else _payload(send),
            read_only=read_only,
            incoming=incoming,
            client=None if client is None else str(parse.address(client, "--client")),
            wait=None if wait is None else parse.seconds(wait, "--wait"),
        )
        _show(result, trace=trace, as_json=as_json, verbose=verbose)
        results.append(result.exit_status)
    return _together(results)


def _show(result: WhyResult, *, trace: bool, as_json: bool, verbose: int) -> None:
    import json

    from netkat.cli.console import escape_controls, print_status
    from netkat.diagnose.why import report

    if verbose:
        for note in result.evidence.notes:
            print_status(note)
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    for line in report.report(result):
        print(escape_controls(line))
    if trace:
        for line in report.trace(result.evidence):
            print(escape_controls(line))


def _payload(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(65507)
    except OSError as error:
        raise BadArgument(f"--send: {path}: {error.strerror}") from None


def _together(statuses: list[int]) -> int:
    """Return 1 if any port has a finding, else 3 if any is undecided."""
    return 1 if 1 in statuses else max(statuses)
