"""Expressions of the rules in netkat's own table."""

from __future__ import annotations

import struct

from netkat.diagnose.why.nft import uapi
from netkat.flow import IPAddress
from netkat.netlink import attribute, nested

_REGISTER = 8
"""NFT_REG32_00."""
_META_DREG, _META_KEY, _META_SREG = 1, 2, 3
_META_NFPROTO, _META_L4PROTO, _META_OIF, _META_NFTRACE = 15, 16, 5, 12
_CMP_EQ, _CMP_NEQ = 0, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_IPV4, _IPV6 = 2, 10


def expression(kind: str, *data: bytes) -> bytes:
    """One expression of a rule."""
    return nested(
        uapi.LIST_ELEM,
        attribute(uapi.EXPR_NAME, uapi.name(kind)),
        nested(uapi.EXPR_DATA, *data),
    )


def l4proto(protocol: int) -> bytes:
    """``meta l4proto PROTOCOL``."""
    return _meta(_META_L4PROTO) + _compare(bytes([protocol]))


def source_port(port: int) -> bytes:
    """``th sport PORT``."""
    return _payload(_TRANSPORT_HEADER, 0, 2) + _compare(struct.pack("!H", port))


def destination_port(port: int) -> bytes:
    """``th dport PORT``."""
    return _payload(_TRANSPORT_HEADER, 2, 2) + _compare(struct.pack("!H", port))


def source_address(address: IPAddress) -> bytes:
    """``ip saddr ADDRESS``, or ``ip6 saddr``, with the test of the family that goes before it."""
    return _address(address, 12 if address.version == 4 else 8)


def destination_address(address: IPAddress) -> bytes:
    """``ip daddr ADDRESS``, likewise."""
    return _address(address, 16 if address.version == 4 else 24)


def out_interface(index: int) -> bytes:
    """``meta oif INDEX``."""
    return _meta(_META_OIF) + _compare(struct.pack("=I", index))


def not_out_interface(index: int) -> bytes:
    """``meta oif != INDEX``."""
    return _meta(_META_OIF) + _compare(struct.pack("=I", index), _CMP_NEQ)


def trace() -> bytes:
    """``meta nftrace set 1``."""
    one = attribute(1, uapi.be32(_REGISTER)) + nested(2, attribute(uapi.DATA_VALUE, b"\1"))
    return expression("immediate", one) + expression(
        "meta",
        attribute(_META_KEY, uapi.be32(_META_NFTRACE)),
        attribute(_META_SREG, uapi.be32(_REGISTER)),
    )


def verdict(code: uapi.Verdict) -> bytes:
    """``drop`` or ``accept``."""
    return expression(
        "immediate",
        attribute(1, uapi.be32(0)),
        nested(2, nested(uapi.DATA_VERDICT, attribute(uapi.VERDICT_CODE, struct.pack("!i", code)))),
    )


def counter() -> bytes:
    """``counter``."""
    return expression("counter")


def _meta(key: int) -> bytes:
    return expression(
        "meta",
        attribute(_META_DREG, uapi.be32(_REGISTER)),
        attribute(_META_KEY, uapi.be32(key)),
    )


def _payload(base: int, offset: int, length: int) -> bytes:
    return expression(
        "payload",
        attribute(1, uapi.be32(_REGISTER)),
        attribute(2, uapi.be32(base)),
        attribute(3, uapi.be32(offset)),
        attribute(4, uapi.be32(length)),
    )


def _compare(value: bytes, operator: int = _CMP_EQ) -> bytes:
    return expression(
        "cmp",
        attribute(1, uapi.be32(_REGISTER)),
        attribute(2, uapi.be32(operator)),
        nested(3, attribute(uapi.DATA_VALUE, value)),
    )


def _address(address: IPAddress, offset: int) -> bytes:
    family = _IPV4 if address.version == 4 else _IPV6
    return (
        _meta(_META_NFPROTO)
        + _compare(bytes([family]))
        + _payload(_NETWORK_HEADER, offset, len(address.packed))
        + _compare(address.packed)
    )
