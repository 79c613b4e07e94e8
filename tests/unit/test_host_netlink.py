"""The codec: what it packs it reads, and nothing that arrives makes it fail or hang."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkat import netlink
from netkat.errors import SetupError
from netkat.host.links import Link, addresses, link
from netkat.netlink import Netlink, NetlinkError

ATTRIBUTES = st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8)


@given(ATTRIBUTES)
def test_attributes_round_trip(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
    assert len(data) % 4 == 0
    assert list(netlink.attribute_list(data)) == pairs


@given(ATTRIBUTES)
def test_nested_flag_is_stripped(pairs: list[tuple[int, bytes]]) -> None:
    inside = [netlink.attribute(kind, value) for kind, value in pairs]
    ((kind, value),) = netlink.attribute_list(netlink.nested(5, *inside))
    assert kind == 5 and list(netlink.attribute_list(value)) == pairs


@given(st.binary(max_size=200))
def test_any_bytes_end(data: bytes) -> None:
    assert sum(len(value) for _, value in netlink.attribute_list(data)) <= len(data)
    assert sum(len(body) for *_, body in netlink.messages(data)) <= len(data)


def test_cut_attribute_ends_the_list() -> None:
    data = netlink.attribute(1, b"whole") + netlink.attribute(2, b"cut off")[:-4]
    assert netlink.attributes(data) == {1: b"whole"}
    assert netlink.attributes(struct.pack("=HH", 2, 1) * 4) == {}


def test_kernel_refusal_has_its_errno_and_words() -> None:
    # RTM_GETROUTE with flags that strict checking does not take.
    body = struct.pack("=BBBBBBBBI", socket.AF_INET6, 128, 0, 0, 0, 0, 0, 0, 0x1000)
    with Netlink() as kernel, pytest.raises(NetlinkError) as caught:
        kernel.get(26, body + netlink.attribute(1, bytes(16)))
    assert caught.value.errno == errno.EINVAL
    assert "flags" in caught.value.reason and str(caught.value) == caught.value.reason


def test_a_message_of_another_process_is_not_believed() -> None:
    """Any process may send to a netlink socket's port; only the kernel's answers count."""
    with Netlink() as kernel, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as liar:
        port = kernel._socket.getsockname()[0] or _bound(kernel)
        forged = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -errno.EPERM)
        try:
            liar.sendto(forged, (port, 0))
        except PermissionError:
            return  # without CAP_NET_ADMIN the kernel itself does not let such a message pass
        body = struct.pack("=BxHiII", 0, 0, 1, 0, 0)
        assert kernel.get(18, body)


def _bound(kernel: Netlink) -> int:
    kernel._socket.bind((0, 0))
    return int(kernel._socket.getsockname()[0])


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "_PATIENCE", 0.05)
    with Netlink() as kernel, pytest.raises(NetlinkError, match="does not answer"):
        # An acknowledgement was not asked for, so this request has no answer at all.
        next(kernel._receive(99))


def test_interrupted_dump_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([[(20, 0x10, b"torn"), (3, 0, b"")], [(20, 0, b"whole"), (3, 0, b"")]])
    with Netlink() as kernel:
        monkeypatch.setattr(kernel, "_send", lambda *_: 1)
        monkeypatch.setattr(kernel, "_receive", lambda _: iter(next(rounds)))
        assert kernel.dump(18, b"") == [b"whole"]


def test_loopback_is_there() -> None:
    here = link("lo")
    assert here.loopback and here.index == link(here.index).index
    assert {str(own.address) for own in addresses(here.index)} >= {"127.0.0.1"}


def _link(arphrd: int, *, point_to_point: bool = False) -> Link:
    return Link(
        "x0", 9, None, 1500, arphrd, True, True, False, False, "", None, None, point_to_point
    )


@pytest.mark.parametrize("arphrd", [1, 772])
def test_ethernet_types(arphrd: int) -> None:
    assert _link(arphrd).ethernet is True


@pytest.mark.parametrize("arphrd", [512, 519, 768, 769, 776, 0xFFFE])
def test_types_without_header(arphrd: int) -> None:
    assert _link(arphrd).ethernet is False


@pytest.mark.parametrize("arphrd", [778, 823])
def test_gre_is_bare_only_with_one_peer(arphrd: int) -> None:
    assert _link(arphrd, point_to_point=True).ethernet is False
    with pytest.raises(SetupError, match="many peers"):
        _ = _link(arphrd).ethernet


@pytest.mark.parametrize(("arphrd", "words"), [(32, "InfiniBand"), (4711, "unknown to netkat")])
def test_other_types_are_refused(arphrd: int, words: str) -> None:
    with pytest.raises(SetupError, match=f"x0 is a link of type {arphrd} .{words}") as caught:
        _ = _link(arphrd).ethernet
    assert caught.value.hint
