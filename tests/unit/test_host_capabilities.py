"""Capabilities: named, required, and gone for good after drop_all()."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netkat.errors import BadArgument, MissingCapability
from netkat.host import capabilities, capability_hints
from netkat.host.capabilities import NAMES, held, missing, require
from netkat.host.netns import run_in_netns

ROOT = Path(__file__).resolve().parents[2]

DROP = """
import json, subprocess, sys
from netkat.host.capabilities import drop_all, held
drop_all()
drop_all()
after = subprocess.run([sys.executable, "-c", "print(open('/proc/self/status').read())"],
                       capture_output=True, text=True).stdout
mine = open("/proc/self/status").read()
def sets(text):
    wanted = [line.split() for line in text.splitlines() if line.startswith(("Cap", "NoNew"))]
    return {name.rstrip(":"): int(value, 16) for name, value in wanted}
print(json.dumps([sets(mine), sets(after), sorted(held())]))
"""


def test_names_match_the_header() -> None:
    """A few whose numbers are known from elsewhere, and the count of this kernel."""
    assert [NAMES.index(name) for name in ("CAP_CHOWN", "CAP_NET_BIND_SERVICE")] == [0, 10]
    assert [NAMES.index(name) for name in ("CAP_NET_ADMIN", "CAP_NET_RAW")] == [12, 13]
    assert [NAMES.index(name) for name in ("CAP_SYS_ADMIN", "CAP_BPF")] == [21, 39]
    assert len(NAMES) >= int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1


def test_held_is_the_threads_effective_set() -> None:
    status = Path("/proc/thread-self/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if "CapEff" in line)
    assert {NAMES.index(name) for name in held()} == {
        number for number in range(64) if mask >> number & 1
    }
    assert missing(*held()) == []


def test_drop_all_leaves_none_here_and_in_children() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROP], capture_output=True, text=True, check=True, cwd=ROOT
    )
    mine, child, names = json.loads(done.stdout)
    for sets in (mine, child):
        assert [sets[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
        assert sets["NoNewPrivs"] == 1
    assert names == []
    if "CAP_SETPCAP" in held():
        assert mine["CapBnd"] == 0


def test_require_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "held", lambda: frozenset({"CAP_NET_RAW"}))
    monkeypatch.setattr(capability_hints, "in_container", lambda: False)
    monkeypatch.setattr(sys, "argv", ["/opt/my tools/netkat", "-vz", "a host", "80"])
    require("CAP_NET_RAW")
    with pytest.raises(MissingCapability) as caught:
        require("CAP_NET_RAW", "CAP_NET_ADMIN")
    assert str(caught.value) == "CAP_NET_ADMIN is missing"
    assert caught.value.capability == "CAP_NET_ADMIN"
    assert caught.value.hint == "sudo '/opt/my tools/netkat' -vz 'a host' 80"


def test_sudo_line_has_the_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "netkat"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capability_hints.sudo_line(["netkat", "h", "80"]) == f"sudo {program} h 80"
    module = capability_hints.sudo_line([str(ROOT / "netkat" / "__main__.py"), "h"])
    assert module == f"sudo {sys.executable} -m netkat h"


def test_in_a_container_the_line_is_kubectls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    line = capability_hints.capability_hint(["netkat", "10.1.1.1", "80"])
    assert line.startswith(f"kubectl debug -it {os.uname().nodename} ")
    assert "--profile=netadmin" in line and line.endswith("-- netkat 10.1.1.1 80")


def test_unknown_namespaces_are_named() -> None:
    with pytest.raises(BadArgument, match="'nosuch'"):
        run_in_netns("nosuch", lambda: None)
    with pytest.raises(BadArgument, match="no such process"):
        run_in_netns(2**22 + 1, lambda: None)
