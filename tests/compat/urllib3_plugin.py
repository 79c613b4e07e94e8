"""urllib3's own tests over netkat's connections: ``pytest -p tests.compat.urllib3_plugin``.

Its client is the adapter of netkat.requests. Servers that the suite has on loopback listen
on every address, and a client that goes there goes to the peer.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from urllib3.connection import HTTPConnection

from netkat.integrations.urllib3_pool import pool_classes
from tests.compat.place import LOOPBACK, Outcomes, ToPeer

_bind = socket.socket.bind


def pytest_configure(config: pytest.Config) -> None:
    """Have every connection made by netkat."""
    config.pluginmanager.register(Outcomes())
    connection = pool_classes(ToPeer())["http"].ConnectionCls
    HTTPConnection._new_conn = connection._new_conn  # type: ignore[method-assign]
    socket.socket.bind = bind_anywhere  # type: ignore[method-assign, assignment]


def bind_anywhere(sock: socket.socket, address: Any) -> None:
    """As bind, and on every address in place of loopback."""
    if sock.family in (socket.AF_INET, socket.AF_INET6) and address[0] in LOOPBACK:
        address = ("", *address[1:])
    _bind(sock, address)
