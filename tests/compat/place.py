"""Where a suite that pytest runs finds its client, and where it says what became of it.

pytest runs in the peer's namespace, with the suite's own servers on kernel sockets; its
clients are netkat's, in the host's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from netkat import Stack
from netkat.integrations.network import Network

PLACE = json.loads(os.environ["NETKAT_COMPAT"])
"""``host``: the client's namespace; ``client`` and ``peer``: their addresses by family, 4 and 6;
``result``: the file to write."""

LOOPBACK = {"localhost": "4", "127.0.0.1": "4", "::1": "6"}


class ToPeer(Network):
    """Connections that meet loopback's servers at the peer's addresses."""

    def __init__(self) -> None:
        super().__init__(Stack(netns=PLACE["host"]), {})

    def connect(
        self, host: str, port: int, timeout: float | None, local_address: str | None = None
    ) -> Any:
        source = LOOPBACK.get(local_address or "")
        if host in LOOPBACK:
            host = PLACE["peer"][source or LOOPBACK[host]]
        if source is not None:
            local_address = PLACE["client"][source]
        return super().connect(host, port, timeout, local_address)


class Outcomes:
    """What became of each case, as the ledger has it: by file, written when all have run."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown of one: what fails in any of them fails."""
        group, _, case = report.nodeid.partition("::")
        cases = self._found.setdefault(group, {})
        if report.failed:
            cases[case] = report.longreprtext
        elif report.when == "call" and report.passed:
            cases.setdefault(case, "passes")

    def pytest_sessionfinish(self) -> None:
        """Say it."""
        Path(PLACE["result"]).write_text(json.dumps(self._found))
