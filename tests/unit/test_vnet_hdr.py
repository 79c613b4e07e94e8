"""struct virtio_net_hdr."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkat.wire.batch import VNET_LENGTH
from netkat.wire.vnet_hdr import LENGTH, Flags, GsoType, VnetHeader

U8, U16 = st.integers(0, 255), st.integers(0, 65535)


def test_every_field_where_the_kernel_has_it() -> None:
    header = VnetHeader(
        flags=Flags.NEEDS_CSUM,
        gso_type=GsoType.TCPV6 | GsoType.ECN,
        hdr_len=0x0102,
        gso_size=0x0304,
        csum_start=0x0506,
        csum_offset=0x0708,
    )
    little = bytes.fromhex("01 84 02 01 04 03 06 05 08 07")
    big = bytes.fromhex("01 84 01 02 03 04 05 06 07 08")
    assert header.pack() == (little if sys.byteorder == "little" else big)


def test_a_plain_frame_is_ten_zero_bytes() -> None:
    assert VnetHeader().pack() == bytes(10)
    assert LENGTH == VNET_LENGTH == 10
    assert not VnetHeader().super_frame
    assert not VnetHeader(gso_type=GsoType.ECN).super_frame


@pytest.mark.parametrize("kind", [GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP, GsoType.UDP_L4])
def test_super_frames(kind: GsoType) -> None:
    assert VnetHeader(gso_type=kind).super_frame
    assert VnetHeader(gso_type=kind | GsoType.ECN).super_frame


@given(st.builds(VnetHeader, U8, U8, U16, U16, U16, U16), st.binary(max_size=20))
def test_there_and_back(header: VnetHeader, frame: bytes) -> None:
    assert VnetHeader.parse(header.pack() + frame) == header
    assert VnetHeader.parse(memoryview(header.pack() + frame)) == header


@pytest.mark.parametrize("length", range(10))
def test_too_few_bytes(length: int) -> None:
    with pytest.raises(struct.error):
        VnetHeader.parse(bytes(length))


def test_numbers_out_of_range() -> None:
    with pytest.raises(struct.error):
        VnetHeader(gso_size=65536).pack()
