"""-V by a VRF's name: what the kernel answers about such an interface, written out byte by byte."""

from __future__ import annotations

import struct

import pytest

from netkat import netlink
from netkat.errors import BadArgument
from netkat.host.fib import table_number, vrf
from netkat.host.links import link

_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_INFO_DATA = 3, 4, 18, 1, 2


def answer(name: str, kind: str, data: bytes) -> bytes:
    """RTM_NEWLINK: an interface of a kind, with what that kind has to say."""
    body = struct.pack("=BxHiII", 0, 1, 7, 0x1, 0)
    body += netlink.attribute(_IFLA_IFNAME, name.encode() + b"\0")
    body += netlink.attribute(_IFLA_MTU, netlink.pack_u32(65575))
    return body + netlink.nested(
        _IFLA_LINKINFO,
        netlink.attribute(_IFLA_INFO_KIND, kind.encode() + b"\0"),
        netlink.nested(_IFLA_INFO_DATA, data),
    )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has the interfaces blue (a VRF) and odd (whose first number is no table)."""
    known = {
        b"blue": answer("blue", "vrf", netlink.attribute(1, netlink.pack_u32(1042))),
        b"odd": answer("odd", "vxlan", netlink.attribute(1, netlink.pack_u32(1043))),
    }

    def get(self: netlink.Netlink, kind: int, body: bytes) -> bytes:
        for name, body_of in known.items():
            if name + b"\0" in body:
                return body_of
        raise netlink.NetlinkError(19)

    monkeypatch.setattr(netlink.Netlink, "get", get)


def test_a_vrfs_table(kernel: None) -> None:
    assert link("blue").vrf_table == 1042
    assert table_number("blue") == 1042
    assert vrf("blue") == "blue"


def test_other_interfaces_have_none(kernel: None) -> None:
    assert link("odd").vrf_table is None
    for name in ("odd", "nowhere"):
        with pytest.raises(BadArgument, match=f"no routing table or VRF named '{name}'"):
            table_number(name)


@pytest.mark.parametrize("name", ["odd", "main", 254])
def test_a_kernel_socket_takes_a_vrf_alone(kernel: None, name: str | int) -> None:
    with pytest.raises(BadArgument, match=f"-V {name} is not a VRF"):
        vrf(name)


def test_names_of_tables_come_first(kernel: None) -> None:
    assert table_number("main") == 254
