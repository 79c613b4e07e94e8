"""Interfaces and their addresses, as rtnetlink reports them (linux/if_link.h, linux/if_addr.h)."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netkat import netlink
from netkat.errors import InterfaceNotFound, SetupError
from netkat.flow import IPAddress

_RTM_GETLINK, _RTM_GETADDR = 18, 22
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_VRF_TABLE = 18, 1, 2, 1
_IFLA_EXT_MASK, _IFLA_ALT_IFNAME = 29, 53
_RTEXT_FILTER_SKIP_STATS = 8
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFNAMSIZ = 16

_IFF_UP, _IFF_LOOPBACK, _IFF_POINTOPOINT, _IFF_RUNNING, _IFF_NOARP = 0x1, 0x8, 0x10, 0x40, 0x80
_IFA_F_DEPRECATED, _IFA_F_TENTATIVE = 0x20, 0x40

IFINFO = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, change."""
_IFADDR = struct.Struct("=BBBBI")

ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
_ARPHRD_IPGRE, _ARPHRD_IP6GRE = 778, 823

WITH_ETHERNET_HEADER = frozenset({ARPHRD_ETHER, ARPHRD_LOOPBACK})

WITHOUT_HEADER = {
    512: "PPP",
    519: "RAWIP",
    768: "TUNNEL",
    769: "TUNNEL6",
    776: "SIT",
    _ARPHRD_IPGRE: "IPGRE",
    _ARPHRD_IP6GRE: "IP6GRE",
    0xFFFE: "NONE",
}
"""ARPHRD_* (linux/if_arp.h) of links with bare IP on them: tun, WireGuard, ipip."""

OTHER_TYPES = {
    32: "InfiniBand",
    280: "CAN",
    778: "GRE with many peers",
    801: "raw 802.11",
    803: "radiotap",
    804: "IEEE 802.15.4",
    823: "GRE with many peers",
    825: "6LoWPAN",
    826: "vsock monitor",
}
"""Names of other link types, for error messages."""


class Link(NamedTuple):
    """One interface. ``mac`` is None on links without an Ethernet header.

    ``mtu`` is the largest IP packet in bytes. ``kind`` is the kernel's name of the
    driver type ("veth", "vxlan", "wireguard"; "" for hardware), ``master`` the index
    of the bridge, bond or VRF that it belongs to, ``parent`` that of the interface
    it is stacked on (for a veth, its other end's, in the other end's namespace).
    """

    name: str
    index: int  # type: ignore[assignment]  # a field in place of tuple.index
    mac: bytes | None
    mtu: int
    arphrd: int
    up: bool
    running: bool
    noarp: bool
    loopback: bool
    kind: str
    master: int | None
    parent: int | None
    point_to_point: bool
    vrf_table: int | None = None

    @property
    def ethernet(self) -> bool:
        """True where frames carry an Ethernet header, False where they are bare IP packets.

        Errors: SetupError on a link of any other type.
        """
        if self.arphrd in WITH_ETHERNET_HEADER:
            return True
        # A GRE device without a remote address wants its outer header from the sender
        # (net/ipv4/ip_gre.c sets header_ops then); only one peer makes it header-less.
        many_peers = self.arphrd in (_ARPHRD_IPGRE, _ARPHRD_IP6GRE) and not self.point_to_point
        if self.arphrd in WITHOUT_HEADER and not many_peers:
            return False
        what = OTHER_TYPES.get(self.arphrd, "unknown to netkat")
        raise SetupError(
            f"{self.name} is a link of type {self.arphrd} ({what}):"
            " netkat sends Ethernet frames or bare IP packets",
            hint="choose another interface with -i",
        )


class InterfaceAddress(NamedTuple):
    """An address of this host. ``tentative``: not usable yet (duplicate address detection)."""

    address: IPAddress
    prefix_length: int
    index: int  # type: ignore[assignment]  # a field in place of tuple.index
    scope: int
    tentative: bool = False
    deprecated: bool = False


def link(name_or_index: str | int) -> Link:
    """One interface, by name (an alternative name too) or index.

    Errors: InterfaceNotFound.
    """
    with netlink.Netlink() as kernel:
        try:
            return _parse(kernel.get(_RTM_GETLINK, _request(name_or_index)))
        except netlink.NetlinkError as error:
            if error.errno not in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
                raise
        raise _not_found(name_or_index, kernel)


def links() -> list[Link]:
    """Every interface of this namespace."""
    with netlink.Netlink() as kernel:
        return _links(kernel)


def addresses(index: int | None = None) -> list[InterfaceAddress]:
    """This host's own addresses, of one interface or of all."""
    body = _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, index or 0)
    with netlink.Netlink() as kernel:
        found = [_parse_address(answer) for answer in kernel.dump(_RTM_GETADDR, body)]
    return [entry for entry in found if entry and (index is None or entry.index == index)]


def _request(name_or_index: str | int) -> bytes:
    mask = netlink.attribute(_IFLA_EXT_MASK, netlink.pack_u32(_RTEXT_FILTER_SKIP_STATS))
    if isinstance(name_or_index, int):
        return IFINFO.pack(socket.AF_UNSPEC, 0, name_or_index, 0, 0) + mask
    name = name_or_index.encode()
    kind = _IFLA_IFNAME if len(name) < _IFNAMSIZ else _IFLA_ALT_IFNAME
    by_name = netlink.attribute(kind, name + b"\0")
    return IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + by_name + mask


def _links(kernel: netlink.Netlink) -> list[Link]:
    body = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    mask = netlink.attribute(_IFLA_EXT_MASK, netlink.pack_u32(_RTEXT_FILTER_SKIP_STATS))
    return [_parse(answer) for answer in kernel.dump(_RTM_GETLINK, body + mask)]


def _parse(body: bytes) -> Link:
    _, arphrd, index, flags, _ = IFINFO.unpack_from(body)
    found = netlink.attributes(body, IFINFO.size)
    info = netlink.attributes(found.get(_IFLA_LINKINFO, b""))
    kind = netlink.text(info.get(_IFLA_INFO_KIND, b""))
    # The meaning of these attributes depends on the kind.
    data = netlink.attributes(info.get(_IFLA_INFO_DATA, b"")) if kind == "vrf" else {}
    mac = found.get(_IFLA_ADDRESS)
    return Link(
        name=netlink.text(found[_IFLA_IFNAME]),
        index=index,
        mac=mac if arphrd in WITH_ETHERNET_HEADER else None,
        mtu=netlink.u32(found[_IFLA_MTU]),
        arphrd=arphrd,
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_RUNNING),
        noarp=bool(flags & _IFF_NOARP),
        loopback=bool(flags & _IFF_LOOPBACK),
        kind=kind,
        master=netlink.u32(found[_IFLA_MASTER]) if _IFLA_MASTER in found else None,
        parent=netlink.u32(found[_IFLA_LINK]) if _IFLA_LINK in found else None,
        point_to_point=bool(flags & _IFF_POINTOPOINT),
        vrf_table=netlink.u32(data[_IFLA_VRF_TABLE]) if _IFLA_VRF_TABLE in data else None,
    )


def _parse_address(body: bytes) -> InterfaceAddress | None:
    family, prefix_length, flags, scope, index = _IFADDR.unpack_from(body)
    found = netlink.attributes(body, _IFADDR.size)
    # On a point-to-point link IFA_ADDRESS is the other end's, IFA_LOCAL ours.
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if packed is None or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    if _IFA_FLAGS in found:
        flags = netlink.u32(found[_IFA_FLAGS])
    return InterfaceAddress(
        address=IPv4Address(packed) if family == socket.AF_INET else IPv6Address(packed),
        prefix_length=prefix_length,
        index=index,
        scope=scope,
        tentative=bool(flags & _IFA_F_TENTATIVE),
        deprecated=bool(flags & _IFA_F_DEPRECATED),
    )


def _not_found(name_or_index: str | int, kernel: netlink.Netlink) -> InterfaceNotFound:
    names = [entry.name for entry in _links(kernel)]
    if isinstance(name_or_index, int):
        return InterfaceNotFound(
            f"no interface with index {name_or_index}",
            interface=str(name_or_index),
            hint=f"choose one of: {', '.join(names)}",
        )
    from difflib import get_close_matches

    near = get_close_matches(name_or_index, names, n=3, cutoff=0.5)
    return InterfaceNotFound(
        f"no interface {name_or_index!r}",
        interface=name_or_index,
        hint=f"try {' or '.join(near)}" if near else f"choose one of: {', '.join(names)}",
    )
