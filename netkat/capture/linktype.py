"""Link types as capture files number them (tcpdump.org/linktypes.html)."""

from __future__ import annotations

NULL = 0
ETHERNET = 1
RAW = 101
LOOP = 108
LINUX_SLL = 113
IPV4 = 228
IPV6 = 229
LINUX_SLL2 = 276

NAMES = {
    NULL: ("NULL", "BSD loopback"),
    ETHERNET: ("EN10MB", "Ethernet"),
    RAW: ("RAW", "Raw IP"),
    LOOP: ("LOOP", "OpenBSD loopback"),
    LINUX_SLL: ("LINUX_SLL", "Linux cooked v1"),
    IPV4: ("IPV4", "Raw IPv4"),
    IPV6: ("IPV6", "Raw IPv6"),
    LINUX_SLL2: ("LINUX_SLL2", "Linux cooked v2"),
}

_RAW_ELSEWHERE = (12, 14)
"""Numbers of raw IP in files of other systems (DLT_RAW on Linux and on OpenBSD)."""

_ARPHRD = {1: ETHERNET, 772: ETHERNET, 0xFFFE: RAW}
"""Hardware types (linux/if_arp.h) captured with their link header; others are cooked."""


def describe(linktype: int) -> str:
    """Return the name as tcpdump prints it: "EN10MB (Ethernet)"."""
    if linktype not in NAMES:
        return str(linktype)
    name, words = NAMES[linktype]
    return f"{name} ({words})"


def from_file(number: int) -> int:
    """Return the link type for the number in a file's header."""
    return RAW if number in _RAW_ELSEWHERE else number


def to_dlt(linktype: int) -> int:
    """Return libpcap's number on Linux."""
    return 12 if linktype == RAW else linktype


def of_hardware(hardware: int) -> int:
    """Return the link type for an interface's hardware type (ARPHRD)."""
    return _ARPHRD.get(hardware, LINUX_SLL2)


def by_name(name: str) -> int | None:
    """Return the link type for the value of -y, or None."""
    for number, (known, _) in NAMES.items():
        if known == name.upper():
            return number
    return None
