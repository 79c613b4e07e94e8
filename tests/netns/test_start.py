"""What a plain connect loads before its SYN: each module there is a part of a millisecond."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.helpers.netns import Pair

NETKAT = str(Path(sys.executable).with_name("netkat"))

LATER = {
    "asyncio",
    "netkat.api.stack",
    "netkat.commands.relay.stop_rules",
    "netkat.commands.relay.relay",
    "netkat.cli.unsupported",
    "netkat.cli.help_text",
    "netkat.conn",
    "netkat.host.netns",
    "netkat.kernel_sockets",
    "pydantic",
    "pyroute2",
    "rich",
    "ssl",
}
"""Of an open connection, of a fault, of other options, or of nobody."""

MOST = 115
"""Of netkat's own modules, packages not counted."""


def test_a_refused_connect_loads_no_more_than_it_needs(pair: Pair) -> None:
    told = pair.host.run(
        [NETKAT, pair.peer.ipv4, "9"],
        check=False,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    )
    assert told.returncode == 1 and "Connection refused" in told.stderr
    loaded = set(re.findall(r"import time:.*\| +(\S+)$", told.stderr, re.MULTILINE))
    own = {name for name in loaded if name.split(".")[0] == "netkat"}
    assert {"typer", "netkat.engine.pump", "netkat.engine.fault_messages"} <= loaded
    assert loaded & LATER == set()
    modules = {name for name in own if not is_package(name)}
    assert len(modules) <= MOST, sorted(modules)
    # Defining one costs five times what a NamedTuple does.
    assert {name for name in own if "@dataclass" in source(name)} == {"netkat.flow"}


def is_package(module: str) -> bool:
    spec = find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def source(module: str) -> str:
    """Its text; none where it is a folder alone."""
    spec = find_spec(module)
    assert spec is not None
    return "" if spec.origin is None else Path(spec.origin).read_text()
