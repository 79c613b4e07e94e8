"""gVisor's network stack, typed: the only room that talks to libgostack."""

from netkat.stack.endpoint import Endpoint
from netkat.stack.facts import Info, Observation, StackStatistics
from netkat.stack.ffi import Code, StackError, live_handles
from netkat.stack.stack import Stack

__all__ = [
    "Code",
    "Endpoint",
    "Info",
    "Observation",
    "Stack",
    "StackError",
    "StackStatistics",
    "live_handles",
]
