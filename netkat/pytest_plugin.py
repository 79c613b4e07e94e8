"""A pytest plugin: tests that reach a service as an external client does, from this very node.

Installed with ``pip install netkat[pytest]``; pytest finds it by itself. ::

    def test_the_load_balancer_answers(external_client):
        assert external_client.reaches("10.111.111.129", 80)


    def test_it_says_hello(external_client):
        with external_client.connect("10.111.111.129", 80, timeout=2) as conn:
            assert conn.recv(5) == b"hello"

How it goes out is said on the command line (``--netkat-via 172.30.0.12``), in pytest's
configuration (``netkat_via = 172.30.0.12``), or by a fixture of one's own that is called
``external_client_options`` and returns netkat.Stack's options.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from netkat.api.stack import Stack
    from netkat.conn import TcpConnection
    from netkat.errors import NetworkError

_OPTIONS = {
    "interface": "the interface to go out by",
    "via": "the next hop, an address or a MAC",
    "netns": "the network namespace: a name, a path or a pid",
    "claim": "an address that nobody has, to be a foreign client with",
    "guard": "the guard mode: auto, tcx, clsact, cbpf, socket or none",
}


class Reach:
    """Whether a service was reached; when it was not, its repr says why."""

    def __init__(self, target: str, fault: NetworkError | None) -> None:
        self.target, self.fault = target, fault

    def __bool__(self) -> bool:
        return self.fault is None

    def __repr__(self) -> str:
        return f"<{self.target}: {self.fault or 'reached'}>"


class ExternalClient:
    """What ``external_client`` gives: connections past this host's rules.

    ``stack`` is the netkat.Stack that they are of.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack, self._open = stack, ExitStack()

    def connect(self, host: str, port: int, timeout: float | None = 5.0) -> TcpConnection:
        """A TCP connection; it is closed with the test. Errors: as netkat.create_connection."""
        return self._open.enter_context(self.stack.create_connection((host, port), timeout))

    def reaches(self, host: str, port: int, timeout: float = 5.0) -> Reach:
        """Whether a TCP handshake with it succeeds; True or False in a condition.

        What is no answer of the network (no such name, no right) is an error and not False.
        """
        from netkat.errors import NetworkError

        try:
            self.stack.create_connection((host, port), timeout).close()
        except NetworkError as fault:
            return Reach(f"{host} {port}", fault)
        return Reach(f"{host} {port}", None)

    def close(self) -> None:
        """Close what connect() opened; more than once is once."""
        self._open.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--netkat-…``, and the same in the configuration."""
    group = parser.getgroup("netkat", "netkat: the external_client fixture")
    for name, what in _OPTIONS.items():
        group.addoption(f"--netkat-{name}", metavar=name.upper(), help=what)
        parser.addini(f"netkat_{name}", what)


@pytest.fixture(scope="session")
def external_client_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """netkat.Stack's options, from command line and configuration. Override it at will."""
    found = {
        name: pytestconfig.getoption(f"netkat_{name}") or pytestconfig.getini(f"netkat_{name}")
        for name in _OPTIONS
    }
    return {name: value for name, value in found.items() if value}


@pytest.fixture(scope="session")
def _external_stack(external_client_options: dict[str, Any]) -> Iterator[Stack]:
    from netkat.api.stack import Stack
    from netkat.errors import NetkatError

    try:
        stack = Stack(**external_client_options)
    except NetkatError as error:
        hint = f"\n{error.hint}" if error.hint else ""
        pytest.fail(f"external_client: {error}{hint}", pytrace=False)
    with stack:
        yield stack


@pytest.fixture
def external_client(_external_stack: Stack) -> Iterator[ExternalClient]:
    """An ExternalClient: its connections are as an external client's, past this host's rules."""
    client = ExternalClient(_external_stack)
    yield client
    client.close()
