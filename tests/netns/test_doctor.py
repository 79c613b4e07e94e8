"""netkat doctor: what it says where all is well, and where something is not; what it leaves."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from netkat.bpf.guard.tcx import FIRST, TcxLink, attached
from netkat.host.capability_hints import capability_hint
from tests.helpers import fault_lab
from tests.helpers.fault_lab import Lab
from tests.helpers.guard_lab import PASS, state, witness
from tests.helpers.netns import ROOT, Namespace, Pair, namespace
from tests.helpers.schemas import parsed

DOCTOR = [sys.executable, "-m", "netkat", "doctor", "--json"]
ALL = ["capabilities", "kernel", "interface eth0", "guard", "offloads", "egress_hooks", "library"]


def examine(
    space: Namespace, *arguments: str, prefix: tuple[str, ...] = (), **options: Any
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the findings by name."""
    options.setdefault("cwd", ROOT)
    done = space.run([*prefix, *DOCTOR, *arguments], check=False, **options)
    assert done.stderr == ""
    said = parsed("doctor", done.stdout)
    assert said["ok"] is (done.returncode == 0)
    for finding in said["findings"]:
        assert finding["ok"] or finding["fix"], finding
    return done.returncode, {
        " ".join(filter(None, [finding["check"], finding["subject"]])): finding
        for finding in said["findings"]
    }


def without(*capabilities: str) -> tuple[str, ...]:
    """Root without some capabilities."""
    lost = ",".join(f"-{name}" for name in capabilities)
    return ("setpriv", "--inh-caps", lost, "--bounding-set", lost)


def test_all_is_well_and_nothing_stays(pair: Pair) -> None:
    index = pair.host.call(lambda: socket.if_nametoindex("eth0"))
    code, found = examine(pair.host)
    assert code == 0
    assert list(found)[: len(ALL)] == ALL
    assert all(found[name]["ok"] for name in ALL), found
    assert found["guard"]["detail"].startswith("tcx: program ")
    assert pair.host.ipv4 in found["interface eth0"]["detail"]
    assert state(pair.host, index) == (None, [])
    assert pair.host.call(lambda: attached(index)) == []


def test_what_why_can_do_here(pair: Pair) -> None:
    _, found = examine(pair.host)
    # ip-netns-exec(8) mounts a /sys without cgroups.
    assert found["why"]["detail"].startswith("rule traces work; cgroup programs cannot be listed")
    assert found["why_incoming"]["ok"]
    _, found = examine(pair.host, prefix=without("bpf", "sys_admin"))
    assert "CAP_BPF" in found["why_incoming"]["detail"]
    _, found = examine(pair.host, prefix=without("net_admin"))
    assert found["why"]["detail"].startswith("--read-only alone: ")
    assert pair.host.run(["nft", "list", "tables"]).stdout == ""


def test_words_for_people(pair: Pair) -> None:
    done = pair.host.run([*DOCTOR[:-1], "-i", "eth0"], cwd=ROOT)
    lines = done.stdout.splitlines()
    assert lines[-1] == "Result: netkat can connect on this host."
    assert any(line.startswith("ok    guard ") for line in lines)


def test_without_net_raw_connect_cannot_work(pair: Pair) -> None:
    code, found = examine(pair.host, prefix=without("net_raw"))
    assert code == 1
    assert found["capabilities"]["required"] and not found["capabilities"]["ok"]
    program = str(ROOT / "netkat" / "__main__.py")
    assert found["capabilities"]["fix"] == capability_hint([program, "doctor", "--json"])
    _, found = examine(
        pair.host, prefix=without("net_raw"), env={"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    )
    assert found["capabilities"]["fix"].startswith(f"kubectl debug -it {os.uname().nodename} ")


def test_the_step_that_capabilities_allow(pair: Pair) -> None:
    code, found = examine(pair.host, prefix=without("bpf", "sys_admin"))
    assert code == 0
    assert found["guard"]["detail"].startswith("cbpf: ")
    assert "unavailable: tcx (loading the eBPF guard requires CAP_BPF" in found["guard"]["detail"]
    assert found["guard"]["fix"] == found["capabilities"]["fix"]
    code, found = examine(pair.host, prefix=without("bpf", "sys_admin", "net_admin"))
    assert code == 0
    assert found["guard"]["detail"].startswith("socket: ")
    assert "CAP_NET_ADMIN" in found["egress_hooks"]["detail"]


def test_egress_hooks_are_named(pair: Pair) -> None:
    with ExitStack() as undo:
        lab = Lab(pair, 4, undo)
        for make in (fault_lab.egress_tc, fault_lab.egress_tcx, fault_lab.egress_nft):
            make(lab)
        code, found = examine(pair.host)
        what = found["egress_hooks"]["detail"]
    assert code == 0
    assert "tc filter pref" in what and " eater" in what and "netdev guards out" in what


def test_why_not_a_higher_step(pair: Pair) -> None:
    """Without CAP_BPF only clsact is left, and a tcx program of others runs before that."""
    index = pair.host.call(lambda: socket.if_nametoindex("eth0"))
    with witness(PASS, "cil_from_netdev") as theirs:
        link = pair.host.call(lambda: TcxLink(theirs.program.fd, index, FIRST))
        code, found = examine(pair.host, prefix=without("bpf", "sys_admin"))
        link.close()
    assert code == 0
    assert found["guard"]["detail"].startswith("socket: ")
    assert "runs before tc filters" in found["guard"]["detail"]


def test_an_interface_that_is_down_or_without_address(pair: Pair) -> None:
    pair.host.ip("link add eth1 type veth peer name eth2")
    code, found = examine(pair.host, "-i", "eth1")
    assert code == 1
    assert found["interface eth1"]["fix"] == "ip link set eth1 up"
    with namespace("nkf") as empty:
        code, found = examine(empty)
    assert code == 1
    assert found["interface"]["detail"] == "none is up but lo"


def test_an_unknown_interface_is_a_usage_error(pair: Pair) -> None:
    done = pair.host.run([*DOCTOR, "-i", "eth7"], check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "netkat: no interface 'eth7'"


def test_offloads_that_are_off(pair: Pair) -> None:
    pair.host.run(["ethtool", "-K", "eth0", "tso", "off"])
    code, found = examine(pair.host)
    assert code == 0
    assert found["offloads"]["detail"].startswith("tcp-segmentation-offload off")
    pair.host.run(found["offloads"]["fix"].split())
    assert examine(pair.host)[1]["offloads"]["ok"]


def test_a_library_that_is_not_built(pair: Pair, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "netkat", tmp_path / "netkat")
    (tmp_path / "netkat/stack/libgostack.so").unlink()
    code, found = examine(pair.host, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert code == 1
    assert found["library"]["detail"] == "libgostack.so is not built"
    assert found["library"]["fix"] == "python3 build.py build"
