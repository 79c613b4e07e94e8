"""The program in a node: every form at once, on netkat or on the kernel's sockets.

    python -m tests.helpers.network_changes.agent netkat LOCAL PEER TCP_PORT UDP_PORT LISTEN_PORT

It prints one event a line (JSON) and reads commands from stdin: ``check``, ``stop``.
``dial LISTEN_HOST LISTEN_PORT`` in place of the library: the peer's program, which connects to a
node's listener again and again.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from typing import Any

from tests.helpers.network_changes.forms import FORMS, Form, NewConnection

_writing = threading.Lock()


class KernelLibrary:
    """The kernel's sockets, in the words of the forms."""

    def __init__(self, local: str, listen_port: int) -> None:
        self._local, self._listen_port = local, listen_port

    def create_connection(self, peer: tuple[str, int], timeout: float) -> Any:
        return socket.create_connection(peer, timeout)

    connect_on_stack = create_connection

    def open_datagram(self, peer: tuple[str, int]) -> Any:
        family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.connect(peer)
        return sock

    def create_server(self) -> Any:
        family = socket.AF_INET6 if ":" in self._local else socket.AF_INET
        return socket.create_server((self._local, self._listen_port), family=family)

    def as_socket(self, conn: Any) -> Any:
        return conn

    def check(self, conn: Any) -> None:
        """Raise the error after which the connection is of no use, if there is one."""

    async def open_connection(self, host: str, port: int) -> Any:
        return await asyncio.open_connection(host, port)


class NetkatLibrary(KernelLibrary):
    """netkat, by its public functions."""

    def __init__(self, local: str, listen_port: int) -> None:
        super().__init__(local, listen_port)
        import netkat

        self._netkat = netkat
        self._stack = netkat.Stack()

    def create_connection(self, peer: tuple[str, int], timeout: float) -> Any:
        return self._netkat.create_connection(peer, timeout)

    def connect_on_stack(self, peer: tuple[str, int], timeout: float) -> Any:
        return self._stack.create_connection(peer, timeout)

    def open_datagram(self, peer: tuple[str, int]) -> Any:
        return self._netkat.open_datagram(peer)

    def create_server(self) -> Any:
        return self._netkat.create_server((self._local, self._listen_port))

    def as_socket(self, conn: Any) -> Any:
        return conn.as_socket()

    def check(self, conn: Any) -> None:
        conn.raise_fault()

    async def open_connection(self, host: str, port: int) -> Any:
        return await self._netkat.open_connection(host, port)


def report(form: str, kind: str, detail: object = None, *, began: float | None = None) -> None:
    """Print one event. ``began``: when what succeeded had begun."""
    now = time.monotonic()
    event: dict[str, Any] = {"form": form, "kind": kind, "time": now, "began": began or now}
    if isinstance(detail, BaseException):
        number = detail.errno if isinstance(detail, OSError) else None
        event |= {"error": type(detail).__name__, "errno": number, "message": str(detail)}
        event["hint"] = getattr(detail, "hint", None)
    else:
        event["detail"] = detail
    with _writing:
        os.write(1, json.dumps(event).encode() + b"\n")


def forms_for(arguments: list[str]) -> dict[str, Form]:
    """The forms that the command line asks for."""
    if arguments[0] == "dial":
        host, port = arguments[1], int(arguments[2])
        library: KernelLibrary = KernelLibrary(host, 0)
        name = "listener"
        return {name: NewConnection(library, (host, port), _reporter(name))}
    kind, local, peer, tcp_port, udp_port, listen_port = arguments
    makers = {"netkat": NetkatLibrary, "kernel": KernelLibrary}
    library = makers[kind](local, int(listen_port))
    ports = {"udp": int(udp_port)}
    return {
        name: form(library, (peer, ports.get(name, int(tcp_port))), _reporter(name))
        for name, form in FORMS.items()
    }


def _reporter(name: str) -> Any:
    def tell(kind: str, detail: object = None, *, began: float | None = None) -> None:
        report(name, kind, detail, began=began)

    return tell


def main() -> None:
    """The child."""
    forms = forms_for(sys.argv[1:])
    for form in forms.values():
        form.start()
    for line in sys.stdin:
        if line.strip() == "check":
            for form in forms.values():
                form.checking.set()
        if line.strip() == "stop":
            break
    for form in forms.values():
        form.stopping.set()
    forms_that_end = [form for name, form in forms.items() if name in ("transfer",)]
    for form in forms_that_end:
        form.join()
    report("agent", "done")
    sys.stdin.read()


if __name__ == "__main__":
    main()
