"""The boundary: one ABI in header, library and facade; handles; what happens after fork."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import warnings
from ipaddress import ip_address
from pathlib import Path

import pytest

from netkat.errors import LibraryMismatch, LibraryMissing, LibraryPanicked
from netkat.flow import Flow, Protocol
from netkat.stack import Code, Option, Stack, StackError, State, live_handles
from netkat.stack.codes import check
from netkat.stack.ffi import CALLS, LIBRARY, load, open_library
from netkat.wire import batch
from tests.helpers.waiting import wait_until
from tests.stack.network import Network, readable

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "gostack" / "gostack.h").read_text()
DECLARED = set(re.findall(r"^\w+ (gs_\w+)\(", HEADER, re.MULTILINE))


def numbers(prefix: str) -> dict[str, int]:
    found = re.findall(rf"^#define {prefix}(\w+) (-?\d+)", HEADER, re.MULTILINE)
    return {name: int(value) for name, value in found}


def test_header_library_and_facade_name_the_same_calls() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True
    )
    exported = set(re.findall(r"\bT (gs_\w+)$", listed.stdout, re.MULTILINE))
    assert exported == DECLARED
    assert set(CALLS) == DECLARED


def test_numbers_are_those_of_the_header() -> None:
    assert set(numbers("GS_E").values()) == {int(code) for code in Code}
    assert set(numbers("GS_OPT_").values()) == {int(option) for option in Option}
    assert numbers("GS_")["RX_IOVECS"] == batch.RECEIVE_IOVECS
    assert numbers("GS_")["TX_IOVECS"] == batch.SEND_IOVECS
    assert numbers("GS_")["VNET_LEN"] == batch.VNET_LENGTH


def test_go_has_the_same_codes() -> None:
    text = (ROOT / "gostack" / "errno.go").read_text()
    assert {int(n) for n in re.findall(r"int32 = (-\d+)", text)} == {int(code) for code in Code}


def test_missing_library_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LibraryMissing) as caught:
        open_library(tmp_path / "libgostack.so")
    assert str(caught.value) == "libgostack.so is not built"
    assert caught.value.hint == "python3 build.py build"


def test_another_abi_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LibraryMismatch) as caught:
        open_library(compiled(tmp_path, "int gs_abi(void) { return 99; }"))
    wanted = numbers("GS_")["ABI"]
    assert str(caught.value) == f"libgostack.so speaks ABI 99, this netkat speaks {wanted}"


def test_what_is_no_library_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "libgostack.so"
    path.write_bytes(b"no library")
    with pytest.raises(LibraryMismatch) as caught:
        open_library(path)
    assert "\n" not in str(caught.value)


def test_library_that_lacks_a_call_is_refused(tmp_path: Path) -> None:
    abi = numbers("GS_")["ABI"]
    with pytest.raises(LibraryMismatch):
        open_library(compiled(tmp_path, f"int gs_abi(void) {{ return {abi}; }}"))


def compiled(folder: Path, source: str) -> Path:
    compiler = next(found for name in ("gcc", "cc", "clang") if (found := shutil.which(name)))
    (folder / "fake.c").write_text(source)
    library = folder / "libgostack.so"
    subprocess.run([compiler, "-shared", "-o", library, folder / "fake.c"], check=True)
    return library


def test_closed_handles_are_refused_and_never_used_again() -> None:
    with Network() as network:
        client, server = network.pair()
        with server:
            client.close()
            client.close()
            assert client.closed and "closed" in repr(client)
            for call in (client.connect_result, client.readable_fd, client.info, client.accept):
                with pytest.raises(StackError) as caught:
                    call()
                assert caught.value.code is Code.BAD_HANDLE
            client.abort()  # of what is closed: nothing to do


def test_handles_of_the_wrong_kind_and_from_nowhere() -> None:
    lib = load().calls
    with Network() as network, network.listen() as listener:
        stack, endpoint = network.a.stack._handle, listener._handle
        assert lib.gs_recv(stack, load().ffi.NULL, 0) == Code.BAD_HANDLE  # type: ignore[arg-type]
        assert lib.gs_stack_close(endpoint) == Code.BAD_HANDLE  # type: ignore[arg-type]
        for nothing in (0, 1 << 63, endpoint + 1000):
            assert lib.gs_close(nothing) == Code.BAD_HANDLE  # type: ignore[arg-type]
            assert lib.gs_stack_close(nothing) == Code.BAD_HANDLE  # type: ignore[arg-type]


def test_closing_the_stack_ends_its_endpoints_and_wakes_who_waits() -> None:
    stack = Stack(1500, None)
    own = ip_address("10.0.0.1")
    stack.add_address(own)
    listener = stack.listen(Flow(Protocol.TCP, own, 80))
    descriptor = os.dup(listener.readable_fd())
    assert not readable(descriptor, 0)
    stack.close()
    assert readable(descriptor, 1)
    os.close(descriptor)
    with pytest.raises((StackError, BlockingIOError)):
        listener.accept()
    listener.close()
    assert live_handles() == 0


def test_forgotten_objects_warn_and_are_closed() -> None:
    stack = Stack(1500, None)
    assert live_handles() == 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del stack
        gc.collect()
        wait_until(lambda: len(caught) > 0)
    assert [one.category for one in caught] == [ResourceWarning]
    assert live_handles() == 0


def test_states_and_facts_of_a_new_endpoint() -> None:
    with Network() as network, network.listen() as listener:
        assert listener.info().state is State.LISTEN
        with pytest.raises(BlockingIOError):
            listener.accept()
        flow = network.flow(protocol=17)
        with network.a.stack.connect(flow) as client:
            assert client.info().state is State.NONE
            client.connect_result()


FORK = """
import os, sys, warnings
warnings.simplefilter("error")
from netkat.errors import SetupError
from netkat.stack import Stack
stack = Stack(1500, None)
child = os.fork()
if child == 0:
    wrong = 0
    for call in (lambda: Stack(1500, None), stack.statistics, lambda: stack.inject(None, 1)):
        try:
            call()
            wrong += 1
        except SetupError as error:
            wrong += "forked" not in str(error)
    stack.close()
    del stack
    os._exit(wrong)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stack.statistics()
stack.close()
"""


def test_forked_child_is_told_and_does_not_hang() -> None:
    ran = run(FORK)
    assert (ran.returncode, ran.stderr) == (0, "")


LAZY = """
import sys, threading, os
import netkat.stack
assert "netkat.stack._gostack" not in sys.modules
assert len(os.listdir("/proc/self/task")) == 1
"""


def test_importing_loads_nothing() -> None:
    ran = run(LAZY)
    assert (ran.returncode, ran.stderr) == (0, "")


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )


def test_panic_in_a_call_is_a_typed_error() -> None:
    with Stack(1500, None) as stack:
        # A batch of four at address 0: unsafe.Slice panics.
        result = stack._lib.gs_inject(stack._handle, stack._ffi.NULL, 4)
        assert result == Code.PANIC
        with pytest.raises(LibraryPanicked) as caught:
            check(result)
    assert str(caught.value) == "runtime error: unsafe.Slice: ptr is nil and len is not zero"
    assert "gs_inject" in caught.value.text
    with Stack(1500, None) as other:
        assert other.statistics().endpoints == 0, "the library goes on"
