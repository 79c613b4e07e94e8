"""Lines against tcpdump's own output of the same capture file.

What differs on purpose stands in DIFFERENT, by kind, and in docs/sniff.md; a line
that no longer differs fails as well, so that the table stays true.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from netkat.capture.capture_writer import CaptureWriter
from netkat.capture.pcap import PcapFormat
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from tests.helpers.sniff_corpus import START, packets

STYLES = {
    "": Style(stamp=2, numeric=True),
    "-v": Style(stamp=2, numeric=True, verbose=1),
    "-vv": Style(stamp=2, numeric=True, verbose=2),
    "-vvv": Style(stamp=2, numeric=True, verbose=3),
    "-vK": Style(stamp=2, numeric=True, verbose=1, checksums=False),
    "-e": Style(stamp=2, numeric=True, link=True),
    "-q": Style(stamp=2, numeric=True, quiet=True),
    "-S": Style(stamp=2, numeric=True, absolute=True),
    "-x": Style(stamp=2, numeric=True, dump="x"),
    "-xx": Style(stamp=2, numeric=True, dump="xx"),
    "-X": Style(stamp=2, numeric=True, dump="X"),
    "-XX": Style(stamp=2, numeric=True, dump="XX"),
}

OURS = {
    # RFC 5482: the granularity is the highest bit, tcpdump takes the lowest.
    "tcp-20": "10.0.0.1.1 > 10.0.0.2.2: Flags [S], seq 1, win 64240, "
    "options [uto 0x8005 300], length 0",
    # No secret, so no check: the digest as it is.
    "tcp-23": "10.0.0.1.1 > 10.0.0.2.2: Flags [S], seq 1, win 64240, "
    "options [md5 0x000102030405060708090a0b0c0d0e0f,eol], length 0",
    # A record type that 4.99 has no name for.
    "dns-10": "10.0.0.1.5000 > 10.0.0.2.53: 9+ [1au] HTTPS? example.com. (40)",
    # Words that run together in 4.99.
    "icmp6-18": "2001:db8::1 > 2001:db8::2: "
    "ICMP6, multicast listener query max resp delay: 0 addr: ::, length 24",
    "icmp6-19": "2001:db8::1 > 2001:db8::2: "
    "ICMP6, multicast listener report max resp delay: 0 addr: ff02::1, length 24",
    "odd-11": "3 (invalid)",
    # Linux's own port for VXLAN, which 4.99 takes for OTV's.
    "vxlan-2": "10.0.0.1.5000 > 10.0.0.2.8472: VXLAN, flags [I] (0x08), vni 100",
    # A name and a length, for what is not netkat's business.
    "icmp-20": "10.0.0.1 > 10.0.0.2: ICMP router advertisement, length 8",
    "icmp6-20": "2001:db8::1 > 2001:db8::2: ICMP6, type-#200, length 8",
    "ip-10": "10.0.0.1 > 10.0.0.2: sctp 1 > 2, length 24",
    "ip-12": "10.0.0.1 > 10.0.0.2: VRRP, length 20",
    "ip-13": "10.0.0.1 > 10.0.0.2: OSPF, length 44",
    "odd-4": "STP, length 35",
    # Not decoded: its bytes, as for any EtherType without a name.
    "odd-5": "ethertype PPPoE D (0x8863), length 54:",
    # Cut before the type's own fields: no type is named.
    "odd-21": "2001:db8::1 > 2001:db8::2: [|icmp6]",
}
"""What these say here, wherever -n alone is given."""

VERBOSE = {
    # No more than without -v: Geneve's options, DHCP's and NTP's fields, LLDP's, IGMP's sum.
    "geneve-2", "udp-5", "udp-6", "odd-2", "ip-7", "ip-8", "ip-9", "igmp-1",
}  # fmt: skip
VERY_VERBOSE = VERBOSE | {
    # Neighbour discovery options and group records in hex once more.
    "icmp6-3", "icmp6-4", "icmp6-6", "icmp6-17", "icmp6-21",
}  # fmt: skip
MORE: dict[str, set[str]] = {
    "-v": VERBOSE, "-vK": VERBOSE, "-vv": VERY_VERBOSE, "-vvv": VERY_VERBOSE,
    "-q": {"igmp-1", "ip-7", "ip-8", "ip-9", "odd-1"},  # not shorter than without
    # tcpdump dumps nothing of what it could not read at all.
    "-x": {"arp-9", "odd-23", "odd-9"}, "-X": {"arp-9", "odd-23", "odd-9"},
}  # fmt: skip
LESS: dict[str, set[str]] = {
    "-q": {"dns-10", "tcp-20", "tcp-23", "vxlan-2"},
    **{flags: {"odd-21"} for flags in ("-v", "-vv", "-vvv", "-vK")},
}
CUT = {
    # tcpdump does not mark a cut behind the question.
    "dns-13", "dns-14",
    # What came before the cut is not shown in part either.
    "icmp6-6", "icmp6-7", "icmp6-8", "icmp6-9", "icmp6-10", "icmp6-11", "icmp6-13",
    "icmp6-15", "icmp6-21", "icmp6-22", "tcp-6", "tcp-19",
    # The first line, as far as it goes.
    "tcp-5",
}  # fmt: skip


def differing(flags: str, directory: Path, cut: int | None = None) -> dict[str, tuple[str, str]]:
    """Names of the packets whose lines differ, with tcpdump's words and ours."""
    path = str(directory / "corpus.pcap")
    named = packets(cut)
    writer = CaptureWriter(path, PcapFormat(1, 262144))
    writer.packets([packet for _, packet in named])
    writer.close()
    said = subprocess.run(
        ["tcpdump", "-ttn", *([flags] if flags else []), "-r", path], capture_output=True
    ).stdout.decode("latin1")
    second = START // 1_000_000_000
    theirs = re.split(rf"(?m)^(?={second}\.\d{{6}} )", said)[1:]
    assert len(theirs) == len(named)
    printer = Printer(STYLES[flags])
    found = {}
    for (name, packet), line in zip(named, theirs, strict=True):
        ours = printer.line(packet)
        if normal(ours) != normal(line):
            found[name] = (line.rstrip("\n"), ours)
    return found


def normal(line: str) -> str:
    """Blanks before a mark of truncation differ in tcpdump from protocol to protocol."""
    return re.sub(r"\s+\[\|", " [|", line.rstrip("\n"))


@pytest.mark.parametrize("flags", list(STYLES))
def test_lines_are_tcpdumps(flags: str, tmp_path: Path) -> None:
    found = differing(flags, tmp_path)
    wanted = set(OURS) - LESS.get(flags, set()) | MORE.get(flags, set())
    assert set(found) == wanted, "\n".join(
        f"{name}\n- {theirs}\n+ {ours}"
        for name, (theirs, ours) in found.items()
        if name not in wanted
    )


def test_lines_that_differ_on_purpose(tmp_path: Path) -> None:
    found = differing("", tmp_path)
    for name, words in OURS.items():
        assert words in normal(found[name][1])


def test_lines_of_short_snapshots(tmp_path: Path) -> None:
    assert set(differing("", tmp_path, cut=64)) == set(OURS) - {"dns-10"} | CUT


@pytest.mark.parametrize("flags", ["-n", "-nt", "-ntt", "-nttt", "-ntttt", "-nttttt", "-n#"])
@pytest.mark.parametrize("nano", [False, True])
def test_times_and_numbers(flags: str, nano: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "times.pcap")
    chosen = [packet for name, packet in packets() if name.startswith("arp-")][:5]
    chosen[3].time_ns += 3_723_000_000_123
    chosen[4].time_ns -= 50_000_000_000
    writer = CaptureWriter(path, PcapFormat(1, 262144, nanoseconds=True))
    writer.packets(chosen)
    writer.close()
    precision = ["--nano"] if nano else ["--micro"]
    said = subprocess.run(
        ["tcpdump", flags, *precision, "-r", path], capture_output=True, text=True
    )
    style = Style(stamp=flags.count("t"), nanoseconds=nano, numeric=True, number="#" in flags)
    printer = Printer(style)
    assert [printer.line(packet) for packet in chosen] == said.stdout.splitlines()


def test_text_dump(tmp_path: Path) -> None:
    path = str(tmp_path / "text.pcap")
    chosen = [packet for name, packet in packets() if name in ("tcp-4", "tcp-5", "udp-1", "udp-8")]
    writer = CaptureWriter(path, PcapFormat(1, 262144))
    writer.packets(chosen)
    writer.close()
    said = subprocess.run(["tcpdump", "-ntA", "-r", path], capture_output=True).stdout
    printer = Printer(Style(numeric=True, dump="A"))
    ours = "\n".join(printer.line(packet) for packet in chosen) + "\n"
    assert ours == said.decode("ascii")


def test_nothing_steers_the_terminal() -> None:
    """Names, requests and comments come from anybody."""
    from netkat.capture.packet import Packet
    from tests.helpers.sniff_corpus import t4, u4
    from tests.helpers.sniff_frames import PA, dns

    evil = "\x1b]0;x\x07"
    frames = [
        t4(40000, 80, PA, 1, 1, b"GET /\x1b[2J HTTP/1.1\r\n\r\n"),
        u4(5000, 53, dns(1, 0x100, [(evil, 1)])),
        u4(53, 5000, dns(1, 0x8180, [("x", 16)], [("x", 16, 1, b"\x05\x1b[2Jz")])),
    ]
    for verbose in (0, 1, 2):
        printer = Printer(Style(numeric=True, verbose=verbose))
        for frame in frames:
            packet = Packet(START, len(frame), frame, comment=evil)
            assert "\x1b" not in printer.line(packet)
            assert "\x07" not in printer.line(packet)


def test_colour_only_when_asked() -> None:
    for _, packet in packets():
        assert "\x1b" not in Printer(Style(stamp=0)).line(packet)
    reset = next(packet for name, packet in packets() if name == "tcp-9")
    assert "\x1b[31m" in Printer(Style(stamp=0, color=True)).line(reset)
