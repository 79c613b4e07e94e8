"""The doctor's words and exit codes, for kernels and hosts that are not this one."""

from __future__ import annotations

import os
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkat.cli import command_group
from netkat.diagnose import host_checks, interface_checks, process_checks
from netkat.diagnose.check_result import CheckResult
from netkat.host.links import InterfaceAddress
from tests.helpers.schemas import parsed

GOOD = CheckResult("kernel", True, "Linux 6.18")
LESS = CheckResult("offloads", False, "tso off", "ethtool -K eth0 tso on")
BAD = CheckResult(
    "interface", False, "link is \x1b[31mdown", "ip link set eth0 up", required=True, subject="eth0"
)


def system(release: str, machine: str = "x86_64") -> os.uname_result:
    return os.uname_result(("Linux", "host", release, "#1", machine))


@pytest.mark.parametrize(
    ("release", "machine", "ok", "blocks"),
    [
        ("6.18.44-cloud", "x86_64", True, False),
        ("4.20.0", "aarch64", True, False),
        ("4.19.300-generic", "x86_64", False, True),
        ("6.1+", "x86_64", True, False),
        ("6.6.1", "riscv64", False, False),
    ],
)
def test_kernels(
    monkeypatch: pytest.MonkeyPatch, release: str, machine: str, ok: bool, blocks: bool
) -> None:
    monkeypatch.setattr(os, "uname", lambda: system(release, machine))
    finding = process_checks.kernel()
    assert (finding.ok, finding.blocks) == (ok, blocks)
    assert ok or finding.fix


def test_a_node_in_ipvs_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [
        InterfaceAddress(ip_address(f"10.96.0.{number}"), 32, 5, 0) for number in range(1, 6)
    ] + [InterfaceAddress(ip_address("10.9.0.1"), 24, 2, 0)]
    links = {
        5: SimpleNamespace(name="kube-ipvs0", kind="dummy"),
        2: SimpleNamespace(name="eth0", kind=""),
    }
    monkeypatch.setattr(interface_checks, "addresses", lambda: held)
    monkeypatch.setattr(interface_checks, "link", links.__getitem__)
    (finding,) = interface_checks.service_addresses()
    assert finding.detail.startswith(
        "service addresses on kube-ipvs0 (IPVS mode): 10.96.0.1, 10.96.0.2"
    )
    assert finding.detail.endswith("10.96.0.3 and 2 more")
    assert not finding.blocks and finding.fix and "--via" in finding.fix


@pytest.mark.parametrize(
    ("findings", "code"), [([GOOD], 0), ([GOOD, LESS], 0), ([GOOD, BAD, LESS], 1)]
)
def test_doctor_exit_code_and_output(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: list[CheckResult],
    code: int,
) -> None:
    monkeypatch.setattr(host_checks, "examine", lambda asked: findings)
    assert command_group.run(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(findings) + sum(not finding.ok for finding in findings) + 1
    assert all(line.isprintable() for line in lines)
    assert ("FAIL" in "".join(lines)) is ("cannot" in lines[-1]) is (code == 1)
    assert command_group.run(["doctor", "--json"]) == code
    said = parsed("doctor", capsys.readouterr().out)
    assert said["ok"] is (code == 0)
    assert [each["check"] for each in said["findings"]] == [each.check for each in findings]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    words=st.lists(
        st.one_of(
            st.sampled_from(["-i", "--json", "-h", "--interface=", "-ilo", "lo", "--", "-", "-4"]),
            st.text(max_size=8).filter(lambda word: "\0" not in word),
        ),
        max_size=5,
    )
)
def test_no_arguments_are_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(host_checks, "examine", lambda asked: [GOOD])
    code = command_group.run(["doctor", *words])
    captured = capsys.readouterr()
    assert code in (0, 2)
    assert (captured.err == "") is (code == 0)
    assert len(captured.err.splitlines()) <= 2
    assert "Traceback" not in captured.err
