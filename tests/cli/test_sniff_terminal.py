"""sniff on a terminal and in a pipe: colour, help, and what needs neither root nor a network."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from netkat.capture.capture_writer import CaptureWriter
from netkat.capture.pcap import PcapFormat
from tests.helpers.schemas import parsed
from tests.helpers.sniff_corpus import packets

ROOT = Path(__file__).resolve().parents[2]
SNIFF = [sys.executable, "-m", "netkat", "sniff"]


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = str(tmp_path / "x.pcap")
    writer = CaptureWriter(path, PcapFormat(1, 262144))
    writer.packets([packet for name, packet in packets() if name.startswith("tcp-")])
    writer.close()
    return path


def on_a_terminal(*arguments: str, **environment: str) -> bytes:
    """What a terminal would get."""
    master, slave = pty.openpty()
    changed = {**os.environ, "TERM": "xterm", **environment}
    if not environment.get("NO_COLOR"):
        changed.pop("NO_COLOR", None)
    child = subprocess.Popen(
        [*SNIFF, *arguments], stdout=slave, stderr=subprocess.DEVNULL, cwd=ROOT, env=changed
    )
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 65536):
            seen += part
    except OSError:
        pass  # EIO: the other side is closed
    os.close(master)
    assert child.wait(20) == 0
    return seen


def in_a_pipe(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*SNIFF, *arguments], capture_output=True, input=data, cwd=ROOT)


def test_colour_on_a_terminal_only(capture: str) -> None:
    assert b"\x1b[" in on_a_terminal("-n", "-r", capture)
    assert b"\x1b" not in on_a_terminal("-n", "-r", capture, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal("-n", "-r", capture, TERM="dumb")
    assert b"\x1b" not in in_a_pipe("-n", "-r", capture).stdout


def test_statistics_on_a_terminal_end_with_the_whole_table(capture: str) -> None:
    shown = on_a_terminal("--stats", "-r", capture).decode()
    assert "tcp 10.0.0.1.40000 > 10.0.0.2.80" in shown
    assert shown.rstrip().endswith("bytes")


def test_files_through_pipes(capture: str) -> None:
    data = Path(capture).read_bytes()
    said = in_a_pipe("-n", "-r", "-", "tcp port 9999", data=data)
    assert said.stdout.count(b"\n") == 6
    again = in_a_pipe("-r", "-", "-w", "-", "tcp port 9999", data=data)
    shown = in_a_pipe("-n", "-r", "-", data=again.stdout)
    assert shown.stdout == said.stdout
    counted = in_a_pipe("--count", "-r", "-", "tcp port 9999", data=data)
    assert counted.stdout == b"6 packets\n"


def test_filter_from_a_file_and_words_as_one(capture: str, tmp_path: Path) -> None:
    filters = tmp_path / "filter"
    filters.write_text("tcp\n  port 9999\n")
    wanted = in_a_pipe("-n", "-r", capture, "tcp", "port", "9999").stdout
    assert wanted
    assert in_a_pipe("-n", "-r", capture, "-F", str(filters)).stdout == wanted
    assert in_a_pipe("-nr", capture, "tcp port 9999").stdout == wanted
    both = in_a_pipe("-n", "-r", capture, "-F", str(filters), "udp")
    assert both.returncode == 2 and b"-F cannot be used with" in both.stderr


def test_the_program_is_tcpdumps(capture: str) -> None:
    for letters in ("-d", "-dd", "-ddd"):
        for more in ([], ["-O"]):
            theirs = subprocess.run(
                ["tcpdump", "-r", capture, letters, *more, "tcp port 80"], capture_output=True
            )
            assert in_a_pipe("-r", capture, letters, *more, "tcp port 80").stdout == theirs.stdout


def test_services_have_names_unless_told_otherwise(capture: str) -> None:
    assert b"10.0.0.2.http: Flags [S]" in in_a_pipe("-r", capture, "-c1").stdout
    assert b"10.0.0.2.80: Flags [S]" in in_a_pipe("-n", "-r", capture, "-c1").stdout


def test_json_is_one_object_a_line(capture: str) -> None:
    lines = in_a_pipe("--json", "-r", capture).stdout.splitlines()
    found = [parsed("packet", line) for line in lines]
    assert len(found) == sum(name.startswith("tcp-") for name, _ in packets())
    assert all(one["layers"][0]["name"] == "ethernet" for one in found)
    assert found[0]["time"] == "2023-11-14T22:13:20.123456000Z"


def test_letters_that_are_not_there_say_so() -> None:
    for letter in "EIHmMTubfjJzV":
        said = in_a_pipe(f"-{letter}", "x")
        assert said.returncode == 2
        assert said.stderr.startswith(f"netkat: sniff -{letter}: ".encode()), said.stderr
        assert said.stderr.count(b"\n") <= 2


def test_help_names_every_letter() -> None:
    said = in_a_pipe("--help").stdout.decode()
    for letter in "iDcwrnexXAsvlUqSt#KpQBCGWFdZyO":
        assert f"-{letter}" in said
    assert "before tc and netfilter" in said  # the capture points
