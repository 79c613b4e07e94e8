"""Running something in another network namespace, in a thread that enters it.

A thread, because a namespace is a property of the thread (setns(2)): the rest
of the process stays where it is, and there is no fork, which a process with the
Go runtime in it must not do. Sockets keep the namespace that they were opened in,
so what the function returns works on in any thread. Inside, /proc/net and
/sys/class/net still show the process's main namespace (procfs and sysfs are
bound to it): use netlink or /proc/thread-self/net. /proc/sys/net follows the thread.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar, cast

from netkat.errors import MissingCapability, NamespaceNotFound, SetupError
from netkat.resources import Closeable

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""linux/sched.h: setns(2) checks that the descriptor is a network namespace."""

NAMED = "/run/netns"
"""Where ip-netns(8) keeps its names."""


def netns_path(where: str | int | os.PathLike[str]) -> str:
    """The file of a namespace: a name of ip-netns(8), a path (it holds a slash), or a pid."""
    if isinstance(where, int):
        return f"/proc/{where}/ns/net"
    text = os.fspath(where)
    return text if "/" in text else f"{NAMED}/{text}"


def run_in_netns(where: str | int | os.PathLike[str], function: Callable[[], T]) -> T:
    """Call ``function`` in the namespace and return its result; exceptions are passed on.

    Errors: NamespaceNotFound, MissingCapability (CAP_SYS_ADMIN).
    """
    with NetworkNamespace(where) as namespace:
        return namespace.call(function)


class NetworkNamespace(Closeable):
    """An open namespace: it stays the same if its name or its process is removed.

    Errors: NamespaceNotFound, MissingCapability.
    """

    def __init__(self, where: str | int | os.PathLike[str]) -> None:
        self._where = where
        self._descriptor = _open(where)

    def call(self, function: Callable[[], T]) -> T:
        """As run_in_netns(); the namespace must not be closed yet."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def inside() -> None:
            try:
                self.enter()
                outcome.append(function())
            except BaseException as error:
                failure.append(error)

        # The thread ends with the call: one that had entered a namespace is of no other use.
        thread = threading.Thread(target=inside, name=f"netns {self._where}", daemon=True)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def enter(self) -> None:
        """Move the calling thread into the namespace, permanently.

        Errors: MissingCapability, NamespaceNotFound.
        """
        _setns(self._descriptor, self._where)

    def close(self) -> None:
        """Close the namespace's descriptor. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class NetnsThread(Closeable):
    """A thread that stays in a namespace and runs functions there, one after another.

    Entering requires CAP_SYS_ADMIN. A thread that has entered needs no capability, so this
    still works after all capabilities are dropped. Errors: as run_in_netns().
    """

    def __init__(self, namespace: NetworkNamespace) -> None:
        self._namespace = namespace
        self._wanted: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="netns thread", daemon=True)
        self._thread.start()
        self.call(namespace.enter)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread and return its result; exceptions are passed on."""
        answer: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                answer.put((function(), None))
            except BaseException as error:
                answer.put((None, error))

        self._wanted.put(run)
        result, failure = answer.get()
        if failure is not None:
            raise failure
        return cast("T", result)

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._wanted.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (function := self._wanted.get()) is not None:
            function()


def _open(where: str | int | os.PathLike[str]) -> int:
    path = netns_path(where)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise MissingCapability(
            f"cannot open the network namespace {path}: {error.strerror}",
            capability="CAP_SYS_PTRACE" if isinstance(where, int) else "CAP_SYS_ADMIN",
        ) from None
    except OSError as error:
        if isinstance(where, int):
            raise NamespaceNotFound(
                f"no such process: {where}",
                namespace=str(where),
                hint="list processes: pgrep -l .; list named namespaces: ip netns",
            ) from None
        raise NamespaceNotFound(
            f"no network namespace {os.fspath(where)!r} ({path}: {error.strerror})",
            namespace=os.fspath(where),
        ) from None


def _setns(descriptor: int, where: str | int | os.PathLike[str]) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EPERM:
        raise MissingCapability(
            f"may not enter the network namespace {where}: CAP_SYS_ADMIN is missing",
            capability="CAP_SYS_ADMIN",
        )
    if code == errno.EINVAL:
        raise NamespaceNotFound(
            f"{netns_path(where)} is no network namespace", namespace=netns_path(where)
        )
    raise SetupError(f"cannot enter the network namespace {where}: {os.strerror(code)}")
