"""netkat why's verdicts from recorded evidence: pure functions, no network.

tests/netns wrote the evidence (NETKAT_RECORD_WHY=1 writes it again); each file names its verdict.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netkat.diagnose.why import names
from netkat.diagnose.why.evidence import (
    Connection,
    Evidence,
    Frames,
    Host,
    LegacyRule,
    Probe,
    Service,
    Step,
    Target,
    from_json,
)
from netkat.diagnose.why.finding import Verdict
from netkat.diagnose.why.report import report, trace
from netkat.diagnose.why.result import WhyResult
from netkat.diagnose.why.verdict import conclude
from tests.helpers.netns import ROOT
from tests.helpers.why_lab import RECORDED

FILES = sorted(RECORDED.glob("*.json"))


def load(path: Path) -> tuple[str, Evidence]:
    found = json.loads(path.read_text())
    return found["verdict"], from_json(json.dumps(found["evidence"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_evidence_leads_to_its_verdict(path: Path) -> None:
    verdict, evidence = load(path)
    findings = conclude(evidence)
    assert findings[0].verdict.value == verdict
    lines = report(WhyResult(findings, evidence))
    assert any(line.startswith(findings[0].verdict.heading) for line in lines)
    assert all(line.isprintable() for line in [*lines, *trace(evidence)])


@pytest.mark.parametrize("verdict", Verdict, ids=lambda verdict: verdict.value)
def test_the_page_shows_what_recorded_evidence_gives(verdict: Verdict) -> None:
    page = (ROOT / "docs/why.md").read_text()
    _, evidence = load(RECORDED / f"{verdict.value}.json")
    block = f"### `{verdict.value}`\n\n```\n{WhyResult(conclude(evidence), evidence)}\n```\n"
    assert block in page


@pytest.mark.parametrize("verdict", Verdict, ids=lambda verdict: verdict.value)
def test_every_verdict_has_an_entry_and_a_test_that_makes_it(verdict: Verdict) -> None:
    page = (ROOT / "docs/why.md").read_text()
    assert re.search(rf"^### `{verdict.value}`$", page, re.MULTILINE)
    tests = (ROOT / "tests/netns").glob("test_why_*.py")
    assert any(re.search(rf"\b{verdict.value}\b", path.read_text()) for path in tests)


def test_without_any_evidence_it_is_undecided() -> None:
    target = Target("192.0.2.1", "192.0.2.1", 80, "tcp")
    (finding,) = conclude(Evidence(target, "192.0.2.2", "node address"))
    assert (finding.verdict, finding.exit_status) == (Verdict.UNDECIDED, 3)


def test_getpeername_does_not_decide() -> None:
    target = Target("192.0.2.1", "192.0.2.1", 80, "tcp")
    probe = Probe("connected", peer="10.0.0.1:80", reported_peer="192.0.2.1:80")
    evidence = Evidence(target, "192.0.2.2", "node address", kernel=probe, bypass=probe)
    finding, *_ = conclude(evidence)
    assert finding.verdict is Verdict.CAPTURED_SOCKET
    assert "although getpeername() reports the target" in finding.text
    honest = replace(evidence, kernel=replace(probe, reported_peer="10.0.0.1:80"))
    assert conclude(honest)[0].verdict is Verdict.CAPTURED_SOCKET


@pytest.mark.parametrize(
    ("chain", "name", "port", "endpoint"),
    [
        ("service-SUSTUHLJ-default/web/tcp/http", "default/web", "http", ""),
        ("external-SUSTUHLJ-shop/a.b/udp/", "shop/a.b", "", ""),
        (
            "endpoint-AAOQDDFY-default/web/tcp/http__10.244.2.2/8080",
            "default/web",
            "http",
            "10.244.2.2:8080",
        ),
        (
            "endpoint-AAOQDDFY-default/web/tcp/http__fd00.10.244..2/8080",
            "default/web",
            "http",
            "[fd00:10:244::2]:8080",
        ),
    ],
)
def test_chains_of_the_nftables_mode(chain: str, name: str, port: str, endpoint: str) -> None:
    assert names.from_chain(chain) == (name, port)
    assert names.endpoint_of_chain(chain) == endpoint


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("default/web:http loadbalancer IP", ("default/web", "http")),
        (
            "masquerade LOCAL traffic for default/web:dns external destinations",
            ("default/web", "dns"),
        ),
        ("default/web has no endpoints", ("default/web", "")),
        ("default/web:http -> 10.244.2.2:8080", ("default/web", "http")),
        ("kubernetes service portals", None),
    ],
)
def test_comments_of_the_iptables_modes(comment: str, expected: tuple[str, str] | None) -> None:
    assert names.from_comment(comment) == expected


@pytest.mark.parametrize(
    "record", [Connection, Evidence, Frames, Host, LegacyRule, Probe, Service, Step, Target]
)
def test_the_schema_has_every_field_of_the_evidence(record: type[Any]) -> None:
    schema = json.loads((ROOT / "docs/json/why.schema.json").read_text())
    described = schema["$defs"][record.__name__.lower()]
    # What was not checked stands at the top of the object.
    expected = {field.name for field in dataclasses.fields(record)} - {"unchecked"}
    assert set(described["properties"]) == set(described["required"]) == expected
    assert set(schema["properties"]["verdict"]["enum"]) == {verdict.value for verdict in Verdict}
