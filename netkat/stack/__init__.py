"""The TCP/IP stack: libgostack (Go, gVisor netstack) behind typed objects.

Importing this loads no library: the first Stack does, and with it come the Go
runtime's threads.
"""

from netkat.stack.codes import Code, SourceFailed, StackError, WireFailed
from netkat.stack.endpoint import Endpoint, Option, Poured
from netkat.stack.facts import Info, Observation, StackStatistics, State
from netkat.stack.ffi import live_handles
from netkat.stack.stack import Stack

__all__ = [
    "Code",
    "Endpoint",
    "Info",
    "Observation",
    "Option",
    "Poured",
    "SourceFailed",
    "Stack",
    "StackError",
    "StackStatistics",
    "State",
    "WireFailed",
    "live_handles",
]
