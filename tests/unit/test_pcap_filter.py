"""Capture filters: libpcap's compiler, and the changes made to its programs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from netkat.bpf.filters import libpcap
from netkat.bpf.filters.libpcap import FilterRefused, LibpcapMissing, Matcher, image
from netkat.bpf.filters.pcap_filter import (
    compile_filter,
    cooked_to_kernel,
    with_direction,
    with_snaplen,
)

EXPRESSIONS = [
    "tcp",
    "udp port 53",
    "host 10.0.0.1",
    "src host 10.0.0.1 and tcp dst port 80",
    "net 10.0.0.0/8 and port 443",
    "host 2001:db8::1",
    "ip6 and tcp port 80",
    "arp and host 10.0.0.1",
    "dst net 2001:db8::/33 and udp",
    "icmp6",
    "src port 80",
]


def ethernet(kind: int, packet: bytes) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + packet


def ipv4(protocol: int, source: str, target: str, payload: bytes, fragment: int = 0) -> bytes:
    from ipaddress import IPv4Address

    head = bytes([0x45, 0, 0, 20 + len(payload), 0, 1, fragment >> 8, fragment & 255, 64, protocol])
    return ethernet(
        0x800,
        head + bytes(2) + IPv4Address(source).packed + IPv4Address(target).packed + payload,
    )


def ipv6(protocol: int, source: str, target: str, payload: bytes) -> bytes:
    from ipaddress import IPv6Address

    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([protocol, 64])
    return ethernet(
        0x86DD, head + IPv6Address(source).packed + IPv6Address(target).packed + payload
    )


def ports(source: int, target: int) -> bytes:
    return source.to_bytes(2, "big") + target.to_bytes(2, "big") + bytes(16)


def arp(sender: str, target: str) -> bytes:
    from ipaddress import IPv4Address

    head = bytes.fromhex("0001080006040001") + bytes(6)
    return ethernet(
        0x806, head + IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed
    )


FRAMES = [
    ipv4(6, "10.0.0.1", "192.0.2.9", ports(40000, 80)),
    ipv4(6, "192.0.2.9", "10.0.0.1", ports(80, 40000)),
    ipv4(17, "192.0.2.9", "192.0.2.1", ports(40000, 53)),
    ipv4(17, "10.9.9.9", "192.0.2.1", ports(443, 443)),
    ipv4(17, "10.9.9.9", "192.0.2.1", ports(443, 443), fragment=100),
    ipv4(1, "10.0.0.1", "192.0.2.1", bytes(20)),
    ipv6(6, "2001:db8::1", "2001:db8::2", ports(40000, 80)),
    ipv6(17, "2001:db8::2", "2001:db8::1", ports(53, 40000)),
    ipv6(58, "fe80::1", "ff02::1", bytes(20)),
    arp("10.0.0.1", "10.0.0.2"),
    arp("10.0.0.3", "10.0.0.4"),
    ethernet(0x88CC, bytes(40)),
    bytes(14),
    b"",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_program_is_the_one_that_tcpdump_prints(expression: str) -> None:
    said = subprocess.run(
        ["tcpdump", "-y", "EN10MB", "-ddd", expression],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")[1:-1]
    ours = [" ".join(map(str, one)) for one in compile_filter(expression)]
    assert ours == said


def test_some_frame_matches_each_expression() -> None:
    for expression in EXPRESSIONS:
        matches = Matcher(compile_filter(expression))
        assert any(matches(frame, len(frame)) for frame in FRAMES), expression
        assert not all(matches(frame, len(frame)) for frame in FRAMES), expression


def test_image_is_tcpdump_d() -> None:
    said = subprocess.run(
        ["tcpdump", "-y", "EN10MB", "-d", "tcp port 80"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert image(compile_filter("tcp port 80")) + "\n" == said


@pytest.mark.parametrize(
    ("expression", "reason", "place"),
    [
        ("tcp prot 80", "syntax error", "'prot' (character 5)"),
        ("tcp and and udp", "syntax error", "'and' (character 9)"),
        ("udp or port nosuchservice", "unknown port", "'nosuchservice' (character 13)"),
        ("tcp port 80 or", "syntax error", "unexpected end"),
        ("tcp)", "syntax error", "')' (character 4)"),
        ("port 99999", "illegal port number", "'99999' (character 6)"),
        ("tcp\0 or udp", "NUL byte", ""),
    ],
)
def test_wrong_filter_says_what_and_where(expression: str, reason: str, place: str) -> None:
    with pytest.raises(FilterRefused) as caught:
        compile_filter(expression)
    assert reason in str(caught.value)
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_libpcap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(libpcap, "NAMES", ("libnosuchpcap.so.1",))
    libpcap.library.cache_clear()
    yield
    libpcap.library.cache_clear()


@pytest.mark.usefixtures("no_libpcap")
@pytest.mark.parametrize("expression", ["tcp", "host 10.0.0.1", "tcp or udp"])
def test_an_expression_without_libpcap_names_the_packages(expression: str) -> None:
    with pytest.raises(LibpcapMissing, match="require libpcap") as missing:
        compile_filter(expression)
    hint = str(missing.value.hint)
    assert all(word in hint for word in ("libpcap0.8", "Fedora", "Alpine"))
    assert "\n" not in hint


@pytest.mark.usefixtures("no_libpcap")
def test_no_expression_does_not_need_libpcap() -> None:
    assert compile_filter("") == [(6, 0, 0, 262144)]


def test_cooked_program_reads_the_packet_without_the_header() -> None:
    program = cooked_to_kernel(compile_filter("tcp", linktype=276))
    assert program is not None
    loads = [k for code, _, _, k in program if code & 0x07 == 0]
    assert loads[0] == 0xFFFFF000  # the protocol, from the kernel
    # The protocol fields, counted from the network header.
    assert 0xFFF00009 in loads and 0xFFF00006 in loads
    assert cooked_to_kernel([(0x28, 0, 0, 8), (6, 0, 0, 1)]) is None  # the ARP hardware type


def test_direction_comes_before_the_filter() -> None:
    program = compile_filter("udp")
    assert with_direction(program, "inout", 0) == program
    assert with_direction(program, "in", 0)[-len(program) :] == program
    assert with_direction(program, "inout", 1)[-len(program) :] == program
    with pytest.raises(ValueError, match="sideways"):
        with_direction(program, "sideways", 0)


def test_snaplen_changes_what_is_kept_and_not_what_is_refused() -> None:
    returns = [k for code, _, _, k in with_snaplen(compile_filter("udp"), 96) if code == 6]
    assert returns == [96, 0]
