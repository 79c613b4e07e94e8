"""-o and --hex-dump: what is in the files, and what happens when one cannot be written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from netkat.commands.relay.relay_options import RelayOptions
from netkat.commands.report.session_dump import SessionDump, hex_rows
from netkat.errors import BadArgument, LocalStreamFailed
from tests.helpers.kernel_conn import KernelConn


def exchange(record: SessionDump, name: str = "") -> None:
    """ "question" out, "answer" back, over a recorded connection."""
    conn = KernelConn()
    recorded = record.tee(conn, name)
    assert recorded.send(memoryview(b"question")) == 8
    conn.peer.sendall(b"answer")
    assert recorded.recv_into(memoryview(bytearray(100))) == 6
    conn.abort()
    conn.peer.close()


def test_both_ways_in_order(tmp_path: Path) -> None:
    said: list[str] = []
    raw, dump = tmp_path / "raw", tmp_path / "dump"
    for path in (raw, dump):
        path.write_bytes(b"old")
    record = SessionDump(RelayOptions(output=str(raw), hex_dump=str(dump)), said.append)
    exchange(record)
    record.close()
    record.raise_error()
    assert raw.read_bytes() == b"questionanswer"
    assert dump.read_text().splitlines() == [
        f"> 00000000  {b'question'.hex(' '):47}  |question|",
        f"< 00000000  {b'answer'.hex(' '):47}  |answer|",
    ]
    assert said == []


def test_appending_keeps_what_was_there(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"old ")
    record = SessionDump(RelayOptions(output=str(raw), append=True), print)
    exchange(record)
    record.close()
    assert raw.read_bytes() == b"old questionanswer"


def test_clients_are_told_apart(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    record = SessionDump(RelayOptions(hex_dump=str(dump)), print)
    for name in ("10.9.0.2 4000 ", "10.9.0.3 4000 "):
        exchange(record, name)
    record.close()
    rows = dump.read_text().splitlines()
    assert [row.split("  ")[0] for row in rows] == [
        f"10.9.0.{host} 4000 {mark} 00000000" for host in (2, 3) for mark in "><"
    ]


def test_rows_of_sixteen_with_the_offset_of_their_direction() -> None:
    rows = list(hex_rows(memoryview(bytes(range(0x30, 0x42))), 0x10, "> "))
    assert rows == [
        "> 00000010  30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  |0123456789:;<=>?|\n",
        f"> 00000020  {'40 41':47}  |@A|\n",
    ]
    assert list(hex_rows(memoryview(b"\x00\xff\n"), 0, "< ")) == [
        f"< 00000000  {'00 ff 0a':47}  |...|\n"
    ]


@pytest.mark.parametrize("option", ["output", "hex_dump"])
def test_a_full_disk_is_told_at_once_and_counted_at_the_end(option: str) -> None:
    said: list[str] = []
    record = SessionDump(RelayOptions(**{option: "/dev/full"}), said.append)  # type: ignore[arg-type]
    exchange(record)
    record.close()
    assert len(said) == 1
    assert "No space left on device; the connection goes on without it" in said[0]
    with pytest.raises(LocalStreamFailed, match="14 bytes missing from it"):
        record.raise_error()


@pytest.mark.parametrize("place", ["/no/such/folder/file", "/"])
def test_a_file_that_cannot_be_opened(place: str) -> None:
    with pytest.raises(BadArgument, match="-o /"):
        SessionDump(RelayOptions(output=place), print)


def test_a_pipe_wants_a_reader(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadArgument, match="pipe"):
        SessionDump(RelayOptions(output=str(pipe)), print)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    record = SessionDump(RelayOptions(output=str(pipe)), print)
    got: list[bytes] = []

    def read() -> None:
        got.append(b"".join(iter(lambda: os.read(reader, 9), b"")))

    thread = threading.Thread(target=read)
    thread.start()
    exchange(record)
    record.close()
    thread.join()
    os.close(reader)
    assert got == [b"questionanswer"]


def test_nothing_asked_for_is_the_connection_itself() -> None:
    conn = KernelConn()
    record = SessionDump(RelayOptions(), print)
    assert record.tee(conn) is conn
    record.close()
    conn.abort()
    conn.peer.close()
