"""The TCP/IP stack: libgostack (Go, gVisor netstack) behind typed objects.

Importing this loads no library: the first Stack does, and with it come the Go
runtime's threads.
"""

from netkat.stack.codes import Code, SourceFailed, StackError, WireFailed
from netkat.stack.endpoint import Endpoint, Option, Poured
from netkat.stack.facts import HopState, Info, Observation, StackStatistics, State
from netkat.stack.ffi import live_handles
from netkat.stack.netstack import Stack
from netkat.stack.stack_path import StackPath

__all__ = [
    "Code",
    "Endpoint",
    "HopState",
    "Info",
    "Observation",
    "Option",
    "Poured",
    "SourceFailed",
    "Stack",
    "StackError",
    "StackPath",
    "StackStatistics",
    "State",
    "WireFailed",
    "live_handles",
]
