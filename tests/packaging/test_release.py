"""`build.py release`: it publishes nothing, and names what it could not check."""

from __future__ import annotations

import pytest

from buildsteps import commandline, debian, environment, vulnerabilities, wheels
from netkat.commands.demo.tools import PACKAGES


def test_release_without_dry_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert commandline.main(["release"]) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_release_without_changelog_entry_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wheels, "version", lambda: "99.0")
    monkeypatch.setattr(environment, "ensure", lambda *, dev: None)
    assert commandline.main(["release", "--dry-run"]) == 2
    assert "CHANGELOG.md has no entry for 99.0" in capsys.readouterr().err


def test_govulncheck_without_its_database_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vulnerabilities, "DATABASE", "http://127.0.0.1:1")
    assert vulnerabilities.steps("go") == []
    assert "NOT CHECKED govulncheck: http://127.0.0.1:1" in capsys.readouterr().out


def test_build_installs_every_program_of_the_demo() -> None:
    assert {(need.package, *need.probes) for need in debian.DEMO} == {
        (package, program) for program, package in PACKAGES.items()
    }
