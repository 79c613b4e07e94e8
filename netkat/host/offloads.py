"""Offload features of an interface: segmentation and checksums (ethtool(8) -k)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET = {
    "tx-checksumming": 0x16,
    "scatter-gather": 0x18,
    "tcp-segmentation-offload": 0x1E,
    "generic-segmentation-offload": 0x23,
    "generic-receive-offload": 0x2B,
    "rx-checksumming": 0x14,
}
"""ETHTOOL_GTXCSUM and so on (linux/ethtool.h), by ethtool's names: each asks for one feature,
requires no capability and exists since before Linux 2.6."""
_VALUE = struct.Struct("=II")
_REQUEST = struct.Struct("@16sP16x")
"""struct ifreq: the name, and a pointer in a union of 24 bytes (16 on 32-bit machines)."""


def offloads(interface: str) -> dict[str, bool]:
    """Features by ethtool's names; features that the kernel does not report are omitted.

    Errors: OSError where there is no such interface in this thread's network namespace.
    """
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        socket.if_nametoindex(interface)
        for name, command in _GET.items():
            value = array.array("B", _VALUE.pack(command, 0))
            request = _REQUEST.pack(interface.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(asked, _SIOCETHTOOL, request)
            except OSError:
                continue
            found[name] = bool(_VALUE.unpack(value.tobytes())[1])
    return found
