"""Running in another namespace, by each way of naming it."""

from __future__ import annotations

import os
import socket
import sys
import threading

import pytest

from netkat.errors import BadArgument, MissingCapability
from netkat.host.links import links
from netkat.host.netns import run_in_netns
from tests.helpers.netns import ROOT, Pair


def inode() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_by_name_path_and_pid(pair: Pair) -> None:
    name = pair.host.name
    child = pair.host.popen(["sleep", "30"])
    wanted = os.stat(f"/run/netns/{name}").st_ino
    # setpriv and ip exec into the command, so the pid is in the namespace once it runs.
    while os.stat(f"/proc/{child.pid}/ns/net").st_ino != wanted:
        assert child.poll() is None
    for where in (name, f"/run/netns/{name}", child.pid):
        assert run_in_netns(where, inode) == wanted
    assert inode() != wanted


def test_results_exceptions_and_threads(pair: Pair) -> None:
    before = threading.active_count()
    assert {entry.name for entry in run_in_netns(pair.host.name, links)} == {"lo", "eth0"}

    def fail() -> None:
        raise ZeroDivisionError("as it was")

    with pytest.raises(ZeroDivisionError, match="as it was"):
        run_in_netns(pair.host.name, fail)
    assert threading.active_count() == before


def test_sockets_keep_their_namespace(pair: Pair) -> None:
    with run_in_netns(
        pair.host.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ) as out:
        out.connect((pair.peer.ipv4, 9))
        assert out.getsockname()[0] == pair.host.ipv4


def test_a_file_that_is_no_namespace() -> None:
    with pytest.raises(BadArgument, match="no network namespace"):
        run_in_netns("/dev/null", inode)


def test_without_sys_admin(pair: Pair) -> None:
    code = (
        "from netkat.host.netns import run_in_netns; from netkat.errors import MissingCapability\n"
        f"try: run_in_netns({pair.peer.name!r}, int)\n"
        "except MissingCapability as fault: print(fault.capability)"
    )
    done = pair.host.run(
        ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", code], cwd=ROOT
    )
    assert done.stdout.strip() == "CAP_SYS_ADMIN"
    assert issubclass(MissingCapability, PermissionError)
