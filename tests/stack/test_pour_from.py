"""What a file or a pipe gives, sent by the library itself."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from netkat.stack import Code, Endpoint, SourceFailed, StackError
from netkat.wire.memory import Impairment
from tests.stack.network import Network, eventually, receive, receive_to_end

ALL = 1 << 40
MB = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Closes the reading end."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)


def random_file(folder: Path, size: int) -> Path:
    path = folder / "file"
    path.write_bytes(os.urandom(size))
    return path


def pour(endpoint: Endpoint, descriptor: int) -> int:
    """All of it, and a FIN; how many bytes were taken."""
    taken = 0
    while True:
        poured = endpoint.pour_from(descriptor, ALL, 100)
        taken += poured.taken
        if poured.ended:
            endpoint.shutdown(socket.SHUT_WR)
            return taken
        assert poured.lost == 0


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("gso", [False, True], ids=["segments", "super-frames"])
@pytest.mark.parametrize("begin", [0, 4097])
def test_a_file_arrives_as_it_is(tmp_path: Path, version: int, gso: bool, begin: int) -> None:
    path = random_file(tmp_path, 24 * MB + 123)
    with Network(gso=gso) as network, opened(path) as file, ThreadPoolExecutor(1) as pool:
        client, server = network.pair(version)
        with client, server:
            os.lseek(file, begin, os.SEEK_SET)
            got = pool.submit(receive_to_end, server)
            assert pour(client, file) == 24 * MB + 123 - begin
            assert digest(got.result()) == digest(path.read_bytes()[begin:])
            assert eventually(lambda: client.info().unacked == 0)
        assert os.lseek(file, 0, os.SEEK_CUR) == 24 * MB + 123


def test_a_file_arrives_over_a_bad_wire(tmp_path: Path) -> None:
    path = random_file(tmp_path, 2 * MB)
    bad = Impairment(loss=0.01, duplication=0.01, reordering=0.02, delay=0.002, seed=3)
    with Network(gso=True, impairment=bad) as network, opened(path) as file:
        client, server = network.pair()
        with client, server, ThreadPoolExecutor(1) as pool:
            got = pool.submit(receive_to_end, server)
            pour(client, file)
            assert digest(got.result()) == digest(path.read_bytes())


def test_no_more_than_asked_for(tmp_path: Path) -> None:
    path = random_file(tmp_path, 200_000)
    with Network() as network, opened(path) as file:
        client, server = network.pair()
        with client, server:
            assert client.pour_from(file, 150_001, 100) == (150_001, 0, False)
            assert os.lseek(file, 0, os.SEEK_CUR) == 150_001


def test_a_file_that_shrinks_ends_where_it_ends(tmp_path: Path) -> None:
    path = random_file(tmp_path, 64 * MB)
    whole = path.read_bytes()
    with Network(gso=True) as network, opened(path) as file, ThreadPoolExecutor(1) as pool:
        client, server = network.pair()
        with client, server:
            # Nobody reads yet: it stops at a full window, far from the file's end.
            first = client.pour_from(file, ALL, 200)
            assert 0 < first.taken < 32 * MB
            os.truncate(path, 40 * MB)
            got = pool.submit(receive_to_end, server)
            assert first.taken + pour(client, file) == 40 * MB
            assert digest(got.result()) == digest(whole[: 40 * MB])


def test_a_full_window_ends_a_call_in_time_and_is_not_the_end(tmp_path: Path) -> None:
    path = random_file(tmp_path, 64 * MB)
    with Network(gso=True) as network, opened(path) as file, ThreadPoolExecutor(1) as pool:
        client, server = network.pair()
        with client, server:
            taken = client.pour_from(file, ALL, 500).taken
            begun = time.monotonic()
            poured = client.pour_from(file, ALL, 150)
            assert 0.1 < time.monotonic() - begun < 5
            assert (poured.lost, poured.ended) == (0, False)
            taken += poured.taken
            got = pool.submit(receive_to_end, server)
            assert taken + pour(client, file) == 64 * MB
            assert digest(got.result()) == digest(path.read_bytes())


def test_a_pipe_gives_what_it_has() -> None:
    with Network() as network, pipe() as (reading, writing):
        client, server = network.pair()
        with client, server:
            begun = time.monotonic()
            assert client.pour_from(reading, ALL, 2000) == (0, 0, False), "an empty one"
            for byte in b"slowly":
                os.write(writing, bytes([byte]))
                assert client.pour_from(reading, ALL, 2000) == (1, 0, False)
            assert time.monotonic() - begun < 1, "it waited for more"
            os.close(writing)
            assert client.pour_from(reading, ALL, 2000) == (0, 0, True)
            client.shutdown(socket.SHUT_WR)
            assert receive_to_end(server) == b"slowly"


@pytest.mark.parametrize("blocking", [True, False])
def test_much_by_a_pipe(blocking: bool) -> None:
    data = os.urandom(16 * MB + 1)
    with Network(gso=True) as network, pipe() as (reading, writing), ThreadPoolExecutor(2) as pool:
        os.set_blocking(reading, blocking)
        client, server = network.pair()
        with client, server:

            def write() -> None:
                with open(writing, "wb", buffering=0) as file:
                    view = memoryview(data)
                    while view:
                        view = view[file.write(view[:50_000]) :]

            written, got = pool.submit(write), pool.submit(receive_to_end, server)
            assert pour(client, reading) == len(data)
            written.result()
            assert digest(got.result()) == digest(data)


def test_a_reset_in_the_middle_tells_what_was_lost(tmp_path: Path) -> None:
    path = random_file(tmp_path, 64 * MB)
    with Network(gso=True) as network, opened(path) as file:
        client, server = network.pair()
        with client, server:
            taken = lost = 0

            def reset() -> None:
                assert receive(server)
                server.abort()

            peer = threading.Thread(target=reset)
            peer.start()
            failed = None
            while failed is None:
                try:
                    poured = client.pour_from(file, ALL, 20)
                except StackError as error:
                    failed = error.code
                else:
                    taken, lost = taken + poured.taken, lost + poured.lost
            peer.join()
            assert failed is Code.RESET
            assert taken + lost == os.lseek(file, 0, os.SEEK_CUR) < 64 * MB
            with pytest.raises(StackError) as caught:
                client.pour_from(file, ALL, 20)
            assert caught.value.code is Code.RESET, "it stays so"


def test_what_is_queued_leaves_after_the_endpoint_is_closed(tmp_path: Path) -> None:
    path = random_file(tmp_path, 2 * MB)
    with Network(gso=True) as network, opened(path) as file:
        client, server = network.pair()
        with server:
            with client:
                assert client.pour_from(file, ALL, 100).taken == 2 * MB
            assert digest(receive_to_end(server)) == digest(path.read_bytes())


def test_only_files_and_pipes_are_read(tmp_path: Path) -> None:
    path = random_file(tmp_path, 10)
    with Network() as network:
        client, server = network.pair()
        with client, server:
            with opened(tmp_path) as folder, pytest.raises(SourceFailed, match="Invalid"):
                client.pour_from(folder, ALL, 10)
            one, other = socket.socketpair()
            with one, other, pytest.raises(SourceFailed, match="Invalid"):
                client.pour_from(one.fileno(), ALL, 10)
            with open(path, "ab") as file, pytest.raises(SourceFailed, match="Bad file"):
                client.pour_from(file.fileno(), ALL, 10)
            with pytest.raises(SourceFailed, match="Bad file"):
                client.pour_from(-1, ALL, 10)
        with opened(path) as file, pytest.raises(StackError) as caught:
            client.pour_from(file, ALL, 10)
        assert caught.value.code is Code.BAD_HANDLE


def test_a_datagram_endpoint_pours_nothing(tmp_path: Path) -> None:
    path = random_file(tmp_path, 10)
    with Network() as network, opened(path) as file:
        endpoint = network.a.stack.connect(network.flow(protocol=17))
        with endpoint, pytest.raises(StackError) as caught:
            endpoint.pour_from(file, ALL, 10)
        assert caught.value.code is Code.INVALID
