"""Why the kernel itself drops the probe's packets: a second connection, with skb:kfree_skb watched.

Loading the kernel's type information takes a quarter of a second, so this is done only where
neither a rule nor the peer explains what happened.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from netkat.bpf.drops.drop_watch import Drop, DropWatch
from netkat.diagnose.why.kernel_probe import KernelProbe
from netkat.diagnose.why.packets import parse
from netkat.diagnose.why.request import Request
from netkat.errors import NetkatError

_SECONDS = 0.3
_PREFIX = "SKB_DROP_REASON_"
_NO_FAULT = frozenset({"NOT_SPECIFIED", "CONSUMED", "NETFILTER_DROP"})
"""Reasons that say nothing: rules are found by their traces."""


def dropped(request: Request) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reasons of the kernel's drops of this flow, and what could not be checked."""
    with ExitStack() as open_now:
        watch, unchecked = watch_drops(open_now)
        if watch is None:
            return (), unchecked
        probe = open_now.enter_context(
            KernelProbe(request.protocol, request.address, request.port, lambda port: True)
        )
        probe.start(request.payload)
        probe.settled(time.monotonic() + _SECONDS)
        return drops_of(watch, probe.port), ()


def watch_drops(open_now: ExitStack) -> tuple[DropWatch | None, tuple[str, ...]]:
    """Begin to watch this namespace's drops; None, and why, where that is not possible."""
    try:
        watch = DropWatch(os.stat("/proc/thread-self/ns/net").st_ino)
    except (NetkatError, OSError) as error:
        return None, (f"kernel drops: {error}",)
    open_now.callback(watch.close)
    return watch, ()


def drops_of(watch: DropWatch, port: int) -> tuple[str, ...]:
    """The reasons of all drops of packets that carry this port, each once."""
    drops = [drop for drop in watch.take() if _carries(drop, port)]
    return tuple(dict.fromkeys(filter(None, (reason(watch, drop) for drop in drops))))


def reason(watch: DropWatch, drop: Drop) -> str:
    """The reason's name as the kernel has it; "" where it says nothing."""
    name = watch.reasons.get(drop.reason, f"reason {drop.reason}").removeprefix(_PREFIX)
    return "" if name in _NO_FAULT else name


def _carries(drop: Drop, port: int) -> bool:
    headers = parse(drop.data)
    return headers is not None and port in (headers.source_port, headers.destination_port)
