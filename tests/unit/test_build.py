"""build.py's own decisions: what is missing, what is out of date, what counts as a fitting Go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildsteps import checks, commandline, debian, environment, native, toolchain
from buildsteps.debian import Need

ROOT = Path(__file__).resolve().parents[2]


def write_go(folder: Path, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    go = folder / "go"
    go.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    go.chmod(0o755)


class TestGo:
    @pytest.fixture(autouse=True)
    def tree(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "go.mod").write_text("module netkat\n\ngo 1.26.3\n")
        monkeypatch.setattr(toolchain, "ROOT", tmp_path)
        monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
        return tmp_path

    @pytest.mark.parametrize("version", ["1.26.3", "1.26.8", "1.27", "2.0"])
    def test_on_path_and_new_enough(self, tree: Path, version: str) -> None:
        write_go(tree / "path", version)
        assert toolchain.fitting_go() == str(tree / "path" / "go")

    @pytest.mark.parametrize("version", ["1.26.2", "1.26", "1.19.8", "1.9", "devel"])
    def test_an_older_one_counts_as_none(self, tree: Path, version: str) -> None:
        write_go(tree / "path", version)
        assert toolchain.fitting_go() is None

    def test_the_one_in_venv_stands_in_for_an_older_one(self, tree: Path) -> None:
        write_go(tree / "path", "1.19.8")
        write_go(tree / ".venv" / "bin", "1.26.6")
        assert toolchain.fitting_go() == str(tree / ".venv" / "bin" / "go")

    def test_no_toolchain_is_downloaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOTOOLCHAIN", "auto")
        assert toolchain.environment()["GOTOOLCHAIN"] == "local"

    def test_a_job_without_home_has_somewhere_to_cache(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HOME")
        assert toolchain.environment()["GOCACHE"].startswith(str(tree))


def test_no_c_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(toolchain.CannotBuild, match=r"^no C compiler .*apt-get install gcc.*$"):
        toolchain.require_c_compiler()


def test_another_system_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(toolchain.CannotBuild, match=r"^netkat runs on Linux only .* darwin$"):
        toolchain.require_linux()


def test_declarations_keep_numbers_and_drop_other_preprocessor_lines() -> None:
    header = (
        "#ifndef X\n#define X\n#include <stdint.h>\n"
        "#define GS_EAGAIN -1      /* not now */\n#define MASK 0xFFu\n"
        "#define LONG(a) \\\n  (a)\n#define OTHER (1 << 3)\n"
        "int32_t gs_abi(void);\n#endif\n"
    )
    kept = [line for line in native.declarations(header).splitlines() if line]
    assert kept == ["#define GS_EAGAIN -1", "#define MASK 0xFF", "int32_t gs_abi(void);"]


class TestFingerprint:
    @pytest.fixture(autouse=True)
    def tree(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(native, "ROOT", tmp_path)
        monkeypatch.setattr(native, "_FINGERPRINTS", tmp_path / "build" / "fingerprints.json")
        (tmp_path / "a").write_text("one")
        return tmp_path

    def test_contents_count_and_times_do_not(self, tree: Path) -> None:
        before = native.fingerprint([tree / "a"])
        os.utime(tree / "a", (1, 1))
        assert native.fingerprint([tree / "a"]) == before
        (tree / "a").write_text("two")
        assert native.fingerprint([tree / "a"]) != before

    def test_names_and_words_count(self, tree: Path) -> None:
        (tree / "b").write_text("one")
        assert native.fingerprint([tree / "a"]) != native.fingerprint([tree / "b"])
        assert native.fingerprint([tree / "a"], "go1.26.3") != native.fingerprint([tree / "a"])

    def test_what_was_recorded_is_read_back(self, tree: Path) -> None:
        assert native.recorded("library") is None
        native.record("library", "123")
        native.record("module", "456")
        assert (native.recorded("library"), native.recorded("module")) == ("123", "456")

    def test_a_broken_record_is_no_record(self, tree: Path) -> None:
        native.record("library", "123")
        (tree / "build" / "fingerprints.json").write_text("{")
        assert native.recorded("library") is None


class TestNeeds:
    def test_probed_by_command_or_by_file(self, tmp_path: Path) -> None:
        (tmp_path / "x-1.whl").touch()
        assert Need("any", ("sh",)).met()
        assert Need("any", (f"{tmp_path}/x-*.whl",)).met()
        assert not Need("any", ("netkat-no-such-command", f"{tmp_path}/y-*")).met()

    def test_without_root_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(debian, "_install", lambda packages: pytest.fail("installed"))
        absent = Need("some-package", ("netkat-no-such-command",))
        assert debian.obtain([Need("any", ("sh",)), absent], ask=False) == [absent]
        assert "sudo apt-get install some-package" in capsys.readouterr().out

    @pytest.mark.parametrize(("answer", "installs"), [("", True), ("y", True), ("n", False)])
    def test_asks_on_a_terminal(
        self, monkeypatch: pytest.MonkeyPatch, answer: str, installs: bool
    ) -> None:
        asked: list[list[str]] = []
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name, path: name == "apt-get" or None)
        monkeypatch.setattr(debian, "_install", asked.append)
        monkeypatch.setattr("builtins.input", lambda prompt: answer)
        debian.obtain([Need("some-package", ("netkat-no-such-command",))], ask=True)
        assert asked == ([["some-package"]] if installs else [])

    @pytest.mark.parametrize(
        ("yes", "ci", "terminal", "asks"),
        [
            (False, "", True, True),
            (True, "", True, False),
            (False, "true", True, False),
            (False, "", False, False),
        ],
    )
    def test_when_it_asks(
        self, monkeypatch: pytest.MonkeyPatch, yes: bool, ci: str, terminal: bool, asks: bool
    ) -> None:
        monkeypatch.setenv("CI", ci)
        monkeypatch.setattr(debian, "on_terminal", lambda: terminal)
        assert commandline._may_ask(yes) is asks


class TestSummary:
    @pytest.fixture(autouse=True)
    def report(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(checks, "REPORT", tmp_path / "pytest.xml")
        return tmp_path / "pytest.xml"

    def test_counts_come_from_the_report(self, report: Path) -> None:
        report.write_text(
            '<testsuites><testsuite tests="10" failures="2" errors="1" skipped="3"/></testsuites>'
        )
        assert checks._counts() == (4, 3)

    def test_no_report_is_a_failure(self) -> None:
        assert checks._counts() == (0, 1)

    def test_last_line_counts_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        results = [checks.Result("mypy", 0, 1, 1.0), checks.Result("pytest", 7, 0, 1.0)]
        assert checks.summary(results, []) == 1
        assert capsys.readouterr().out.splitlines()[-1] == "7 passed, 1 failed"

    def test_what_was_left_out_is_no_success(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert checks.summary([checks.Result("mypy", 1, 0, 1.0)], ["tests/netns: want root"]) == 2
        assert "NOT RUN tests/netns: want root" in capsys.readouterr().out

    def test_output_alone_fails_a_silent_step(self) -> None:
        assert checks._run(checks.CheckStep("list", ["echo", "file.go"], silent=True)).failed == 1
        assert checks._run(checks.CheckStep("list", ["true"], silent=True)).failed == 0


def test_requirements_are_those_of_pyproject() -> None:
    wanted = environment._requirements(dev=False)
    names = {name.partition(">")[0] for name in wanted}
    assert {"hatchling", "cffi", "pyroute2", "typer"} <= names
    assert "pytest" not in names
    assert set(wanted) < set(environment._requirements(dev=True))


def test_help_runs_on_the_bare_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "build.py"], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    for command in commandline.COMMANDS:
        assert f"  {command} " in done.stdout


def test_unknown_command_is_usage() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "build.py", "tset"], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 2
    assert "invalid choice: 'tset'" in done.stderr
