"""CPython's test_socket over netkat: ``python -m tests.compat.cpython HOST PEER ADDRESSES CLASS…``.

Run in a process of its own, since it changes modules that all others share. Says on
stdout, as JSON, what became of each case; without arguments, which classes there are.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import threading
import traceback
import unittest
from types import ModuleType
from typing import Any

from netkat import Stack
from tests.compat import sockets

LIBRARY = "/usr/lib/python3.11/test"
"""Debian's libpython3.11-testsuite."""
PATIENCE, LIMIT = 20.0, 40.0
"""Seconds for one answer, and for one case."""


class Hangs(BaseException):
    """The case did not end in time."""


def load() -> ModuleType:
    """test_socket of Debian's package, whatever Python runs it."""
    package = ModuleType("test")
    package.__path__ = [LIBRARY]
    sys.modules["test"] = package
    return importlib.import_module("test.test_socket")


def adapt(suite: ModuleType, world: sockets.World, addresses: tuple[str, str]) -> None:
    """Have the suite make its sockets of netkat, at these addresses (IPv4, IPv6) of the server."""
    ours = sockets.module(world)
    suite.socket = ours  # type: ignore[attr-defined]
    suite.HOST = addresses[0]  # type: ignore[attr-defined]
    suite.InetTestBase.host = addresses[0]
    suite.Inet6TestBase.host = addresses[1]
    # The other kinds are ways to the same end inside socket.socket.
    suite.SendfileUsingSendTest.meth_from_sock = lambda _, sock: sock.sendfile
    # As regrtest --timeout does for a slow machine: how long an answer may take.
    suite.support.LOOPBACK_TIMEOUT = PATIENCE
    for kind in (suite.SendrecvmsgBase, suite.CreateServerFunctionalTest):
        for name in ("fail_timeout", "timeout"):
            if hasattr(kind, name):
                setattr(kind, name, PATIENCE)


def begin(world: sockets.World) -> None:
    """Have both stacks start the threads that the first connection starts: cases count them."""
    with (
        world.server.create_server((world.there("127.0.0.1"), 0)) as listener,
        world.client.create_connection(listener.getsockname()[:2]),
    ):
        listener.accept()[0].close()


def classes(suite: ModuleType) -> list[str]:
    """Every class of the suite that holds cases."""
    return [
        name
        for name, kind in vars(suite).items()
        if isinstance(kind, type)
        and issubclass(kind, unittest.TestCase)
        and unittest.TestLoader().getTestCaseNames(kind)
    ]


def outcome(case: unittest.TestCase) -> str:
    """ "passes", or why it does not, in the suite's own words."""
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        while not done.wait(LIMIT):
            signal.pthread_kill(main, signal.SIGUSR1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = unittest.TestResult()
    try:
        case.run(result)
    except Hangs:
        return "hangs"
    finally:
        done.set()
        watcher.join()
    if result.skipped:
        return f"skipped: {result.skipped[0][1]}"
    said = [text for _, text in (*result.errors, *result.failures)]
    return "passes" if not said else "\n".join(said)


def main() -> None:
    suite = load()
    if len(sys.argv) == 1:
        json.dump(classes(suite), sys.stdout)
        return
    host, peer, addresses, *names = sys.argv[1:]

    def hang(*_: object) -> None:
        traceback.print_stack(file=sys.stderr)
        raise Hangs

    signal.signal(signal.SIGUSR1, hang)
    found: dict[str, dict[str, str]] = {}
    known: dict[str, Any] = json.loads(addresses)
    with Stack(netns=peer) as server, Stack(netns=host) as client:
        world = sockets.World(server, client, known)
        adapt(suite, world, tuple(known["server"]))
        begin(world)
        for name in names:
            kind = getattr(suite, name)
            # Not by unittest's suite, which has each module's threads counted over again.
            kind.setUpClass()
            cases = unittest.TestLoader().getTestCaseNames(kind)
            found[name] = {case: outcome(kind(case)) for case in cases}
            kind.tearDownClass()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
