"""httpcore's own tests over netkat's backends: ``pytest -p tests.compat.httpcore_plugin``.

What they know as httpbin is a small server here, which answers as far as they ask.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest
import trustme

from netkat.integrations.async_backend import AsyncBackend
from netkat.integrations.backend import Backend
from tests.compat.place import PLACE, Outcomes, ToPeer


def pytest_configure(config: pytest.Config) -> None:
    """Have every pool made with netkat's backends."""
    config.pluginmanager.register(Outcomes())
    network = ToPeer()
    blocking: Any = httpcore._sync.connection_pool
    awaited: Any = httpcore._async.connection_pool
    blocking.SyncBackend = lambda: Backend(httpcore, network)
    awaited.AutoBackend = lambda: AsyncBackend(httpcore, network)


class Answers(BaseHTTPRequestHandler):
    """GET: a page. POST: the JSON that was sent, as httpbin gives it back."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"a page")

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(json.dumps({"json": sent}).encode())

    def log_message(self, *_: object) -> None:
        """Not a word."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[SimpleNamespace]:
    """A server on the peer's address, with the ``url`` that the tests ask for."""
    host = PLACE["peer"]["4"]
    with ThreadingHTTPServer((host, 0), Answers) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        scheme = "http" if context is None else "https"
        yield SimpleNamespace(url=f"{scheme}://{host}:{server.server_port}")
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def httpbin() -> Iterator[SimpleNamespace]:
    """By pytest-httpbin's name."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def httpbin_secure() -> Iterator[SimpleNamespace]:
    """By pytest-httpbin's name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(PLACE["peer"]["4"]).configure_cert(context)
    with serving(context) as server:
        yield server
