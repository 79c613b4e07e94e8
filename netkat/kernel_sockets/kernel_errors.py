"""Convert a kernel socket's errors, without claiming more than the kernel reports."""

from __future__ import annotations

import errno
import os

from netkat.engine.fault_messages import icmp_fault
from netkat.errors import (
    ConnectionReset,
    EgressRefused,
    NetkatError,
    NetworkError,
    NoAnswer,
    NoRoute,
    PortTaken,
    Refused,
    SetupError,
    TimedOut,
    Unreachable,
)
from netkat.flow import Flow, Protocol
from netkat.kernel_sockets.socket_errors import Told

_SILENT = "a kernel socket does not say which"
_COMPARE = "leave --kernel away: netkat sees the frames, and says who answered and how"


def name(told: Told, flow: Flow, *, connecting: bool, received: int, sent: int) -> NetkatError:
    """The fault behind an errno."""
    if told.sending and told.errno in (errno.EPERM, errno.EACCES):
        return _own_refusal(told)
    if told.sending and connecting and told.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return NoRoute(
            f"no route to {flow.remote}: the kernel says {os.strerror(told.errno)}",
            hint=f"ip route get {flow.remote} shows it",
        )
    if told.icmp is not None:
        fault = icmp_fault(flow.version, *told.icmp)
        if told.icmp[2].packed == flow.local.packed:
            fault.message += "; that is this host: a rule that rejects, or no answer to ARP"
        return fault
    match told.errno:
        case errno.ECONNREFUSED:
            what = "RST or ICMP port unreachable" if flow.protocol is Protocol.TCP else "ICMP"
            return Refused(
                f"Connection refused [{what}, from {flow.remote}, from something on the way or from"
                f" this host's own firewall: {_SILENT}]",
                by="",
                hint=_COMPARE,
            )
        case errno.ECONNRESET | errno.EPIPE:
            return ConnectionReset(
                f"Connection reset by peer [after {received} bytes received and {sent} sent]",
                received=received,
                sent=sent,
            )
        case errno.EADDRNOTAVAIL | errno.EADDRINUSE:
            return PortTaken(f"no local port for {flow.remote} port {flow.remote_port} is free")
        case errno.ETIMEDOUT:
            return no_answer(flow, 0, None) if connecting else _gave_up(flow)
    if told.code.name == "UNREACHABLE":
        return Unreachable(
            f"{os.strerror(told.errno)} [an ICMP error, or the next hop did not answer: {_SILENT}]",
            hint=_COMPARE,
        )
    return SetupError(f"the kernel says {os.strerror(told.errno)}")


def no_answer(flow: Flow, syns: int, waited: float | None) -> NetworkError:
    """Nothing came back in time, and the kernel does not know where it was lost."""
    after = "" if waited is None else f" after {waited:g} s"
    count = f"{syns} SYN{'' if syns == 1 else 's'}" if syns else "any SYN"
    return NoAnswer(
        f"timed out{after} [no reply to {count}; whether they left this host, a kernel socket"
        " does not say]",
        sent=syns,
        hint="this host's rules, a silent next hop, or something on the way: leave --kernel away"
        " and netkat tells them apart",
    )


def _own_refusal(told: Told) -> NetkatError:
    return EgressRefused(
        f"this host refuses to send: {os.strerror(told.errno)} [a firewall rule, a prohibiting"
        f" route or a program at a cgroup: {_SILENT}]",
        hint="nft list ruleset; iptables-save; ip rule; bpftool cgroup tree;"
        " without --kernel none of them is asked",
    )


def _gave_up(flow: Flow) -> NetworkError:
    return TimedOut(
        f"Connection timed out [{flow.remote} stopped acknowledging]",
        hint="the peer or the path went away while the connection was open",
    )
