"""DNS lines: every record type, EDNS and extended response codes, compared with tcpdump."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from netkat.capture.capture_writer import CaptureWriter
from netkat.capture.packet import Packet
from netkat.capture.pcap import PcapFormat
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from tests.helpers.packets import ethernet, ip, udp

NAME = "www.example.com."
DIGEST = "ab" * 20

LIKE_TCPDUMP = {
    "A": "192.0.2.1", "AAAA": "2001:db8::1", "NS": "ns.example.com.", "CNAME": "web.example.net.",
    "SOA": "a. b. 1 2 3 4 5", "PTR": "p.example.", "MX": "10 mail.", "TXT": '"a b" "c"',
    "SRV": "0 5 5060 sip.", "DNAME": "d.example.", "URI": '1 1 "http://x"',
}  # fmt: skip
"""Types of which tcpdump prints the data."""

WITH_DATA = {
    "HINFO": '"x" "y"', "LOC": "51 30 12.748 N 0 7 39.612 W 0.00m", "DS": f"1 8 1 {DIGEST}",
    "NAPTR": '100 10 "S" "SIP+D2U" "" _sip._udp.example.', "SSHFP": f"1 1 {DIGEST}",
    "RRSIG": "A 8 2 300 20300101000000 20200101000000 1 example. AAAA",
    "NSEC": "n.example. A AAAA", "DNSKEY": "256 3 8 AAAA", "TLSA": "3 1 1 " + "ab" * 32,
    "NSEC3": "1 0 1 ab 2t7b4g4vsa5smi47k61mv5bv1a22bojr A", "SVCB": '1 s.example. port="53"',
    "HTTPS": '1 . alpn="h2"', "SPF": '"v=spf1"', "CAA": '0 issue "ca"', "CDS": f"1 8 1 {DIGEST}",
    "OPENPGPKEY": "AAAA", "EUI48": "00-00-5e-00-53-2a", "CERT": "PKIX 0 0 AAAA", "KX": "1 k.",
    "APL": "1:192.0.2.0/24", "RP": "a. b.",
}  # fmt: skip
"""Types whose data tcpdump does not print: netkat has the presentation format."""


def option(code: int, data: bytes) -> dns.edns.Option:
    return dns.edns.GenericOption(dns.edns.OptionType.make(code), data)


EDNS: dict[str, tuple[int, list[dns.edns.Option]]] = {
    "version": (16, []),
    "cookie-code": (23, []),
    "client-subnet": (0, [dns.edns.ECSOption("192.0.2.0", 24)]),
    "client-subnet-6": (0, [dns.edns.ECSOption("2001:db8::", 32)]),
    "cookie": (0, [option(10, b"12345678")]),
    "nsid": (0, [option(3, b"ab")]),
    "unknown-and-padding": (
        0,
        [option(65001, b"ab"), option(12, bytes(5))],
    ),
    "extended-error": (0, [dns.edns.EDEOption(dns.edns.EDECode.PROHIBITED, "no\x1b[2J")]),
}


def answer(kind: str = "A", data: str | None = None) -> dns.message.Message:
    message = dns.message.make_response(dns.message.make_query(NAME, kind))
    if data is not None:
        message.answer.append(dns.rrset.from_text(NAME, 300, "IN", kind, data))
    return message


def packet(wire: bytes) -> Packet:
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(53, 4000, wire)), 0x0800)
    return Packet(0, len(frame), frame)


def tcpdump(wire: bytes, directory: Path, *flags: str) -> str:
    path = str(directory / "x.pcap")
    writer = CaptureWriter(path, PcapFormat(1, 262144))
    writer.packets([packet(wire)])
    writer.close()
    command = ["tcpdump", "-n", "-t", *flags, "-r", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def netkat(wire: bytes, verbose: int) -> str:
    return Printer(Style(numeric=True, verbose=verbose)).body(packet(wire))


@pytest.mark.parametrize("kind", list(LIKE_TCPDUMP))
def test_record_that_tcpdump_decodes_prints_the_same_line(kind: str, tmp_path: Path) -> None:
    wire = answer(kind, LIKE_TCPDUMP[kind]).to_wire()
    for verbose, flags in ((0, ()), (1, ("-v",)), (2, ("-vv",)), (3, ("-vvv",))):
        assert netkat(wire, verbose) == tcpdump(wire, tmp_path, *flags)


@pytest.mark.parametrize("kind", list(WITH_DATA))
def test_record_that_tcpdump_does_not_decode_prints_its_data(kind: str) -> None:
    wire = answer(kind, WITH_DATA[kind]).to_wire()
    assert f" {NAME} {kind} {WITH_DATA[kind]} (" in netkat(wire, 2)
    assert f" 1/0/0 {kind} (" in netkat(wire, 0)


def test_record_of_unknown_type_prints_its_number(tmp_path: Path) -> None:
    wire = answer("TYPE65400", "\\# 3 010203").to_wire()
    assert netkat(wire, 2) == tcpdump(wire, tmp_path, "-vv")
    assert "Type65400? www.example.com. 1/0/0 www.example.com. Type65400 (" in netkat(wire, 2)


@pytest.mark.parametrize("case", list(EDNS))
def test_edns_prints_as_tcpdump(case: str, tmp_path: Path) -> None:
    code, options = EDNS[case]
    message = answer()
    message.use_edns(0, dns.flags.DO, 1232, options=options)
    message.set_rcode(dns.rcode.Rcode(code))
    wire = message.to_wire()
    assert netkat(wire, 2) == tcpdump(wire, tmp_path, "-vv")
    assert netkat(wire, 0) == tcpdump(wire, tmp_path)


def test_malformed_record_does_not_hide_the_others() -> None:
    message = answer("A", "192.0.2.1")
    message.answer.append(dns.rrset.from_text(NAME, 300, "IN", "TYPE65400", "\\# 1 00"))
    message.answer.append(dns.rrset.from_text(NAME, 300, "IN", "A", "192.0.2.2"))
    wire = message.to_wire().replace(b"\xff\x78", b"\0\x30")  # DNSKEY
    text = netkat(wire, 2)
    assert "A 192.0.2.1, www.example.com. DNSKEY [|domain], www.example.com. A 192.0.2.2" in text


def test_text_record_with_terminal_control_is_escaped() -> None:
    wire = answer("TXT", '"\\027[2J\\010\\228\\184\\173"').to_wire()
    text = netkat(wire, 0)
    assert 'TXT "\\x1b[2J\\x0a\u4e2d" (' in text and "\x1b" not in text


@pytest.mark.parametrize("kind", [*LIKE_TCPDUMP, *WITH_DATA])
def test_layers_have_every_record_type(kind: str) -> None:
    data = LIKE_TCPDUMP.get(kind) or WITH_DATA[kind]
    layers = dict(packet(answer(kind, data).to_wire()).layers)
    assert "malformed" not in layers
    (record,) = layers["dns"]["answers"]
    expected = data if kind not in ("NS", "CNAME", "PTR", "DNAME") else data.rstrip(".")
    assert record["data"] == expected
