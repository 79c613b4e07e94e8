"""What ``netkat why`` can do on this host, for ``netkat doctor``: each is tried for real."""

from __future__ import annotations

import socket
from contextlib import closing

from netkat.bpf.cgroup_programs import own_cgroup
from netkat.bpf.live_frames import FrameInjector
from netkat.diagnose.check_result import CheckResult
from netkat.diagnose.why.nft.owned_table import OwnedTable
from netkat.diagnose.why.nft.trace import TraceSocket
from netkat.errors import SetupError
from netkat.host.capability_hints import capability_hint

_NOTHING = bytes(12) + b"\x88\xb5" + bytes(46)
"""A frame of an EtherType for experiments (IEEE 802), which the kernel drops."""


def traces() -> CheckResult:
    """An owned nftables table and its traces: ``netkat why`` on the sender."""
    try:
        with TraceSocket(), OwnedTable([]):
            pass
    except SetupError as error:
        return CheckResult("why", False, f"--read-only alone: {error}", error.hint)
    except OSError as error:
        what = f"--read-only alone: rule traces: {error.strerror}"
        return CheckResult("why", False, what, capability_hint())
    if own_cgroup() is None:
        what = "rule traces work; cgroup programs cannot be listed: no cgroup2 is mounted here"
        return CheckResult("why", False, what, "run it outside of ip netns exec, with --netns")
    return CheckResult("why", True, "rule traces and cgroup programs")


def arrivals() -> CheckResult:
    """A frame made to arrive on lo: ``netkat why --incoming``."""
    try:
        with closing(FrameInjector()) as program:
            program.inject(socket.if_nametoindex("lo"), _NOTHING)
    except (SetupError, OSError) as error:
        remedy = getattr(error, "hint", None) or capability_hint()
        return CheckResult("why_incoming", False, str(error), remedy)
    return CheckResult("why_incoming", True, "frames can be made to arrive")
