"""Help, manual page and completion: whole, true to the command line, and taken by real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from buildsteps import manual
from netkat.cli.command_group import app
from netkat.cli.examples import EXAMPLES, Example

ROOT: Any = get_command(app)
COMMANDS = sorted(ROOT.commands)
BIN = Path(sys.executable).parent
ALL = [example for each in EXAMPLES.values() for example in each]


def help_of(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "netkat", command, "--help"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str) -> None:
    said = help_of(command)
    assert EXAMPLES[command]
    for line, what in EXAMPLES[command]:
        assert f"  {line}\n      {what}\n" in said


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.line)
def test_examples_are_understood(example: Example) -> None:
    line = example.line
    if found := re.search(r"<\((.*)\)", line):
        line = found[1]
    words = shlex.split(re.split(r" [<|] ", line)[0])
    assert words.pop(0) == "netkat"
    context = ROOT.make_context("netkat", words, resilient_parsing=False)
    name, command, rest = ROOT.resolve_command(context, context._protected_args + context.args)
    command.make_context(name, rest, parent=context)


def test_the_manual_has_every_option_and_nothing_that_a_formatter_minds(tmp_path: Path) -> None:
    page = tmp_path / "netkat.1"
    page.write_text(manual.page())
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], stdout=subprocess.PIPE)
    said = [line for line in lint.stdout.decode().splitlines() if "missing date" not in line]
    assert said == []
    shown = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=200", page], stdout=subprocess.PIPE, check=True
    )
    text = re.sub(r".\x08", "", shown.stdout.decode())
    context = ROOT.make_context("netkat", [], resilient_parsing=True)
    for command in ROOT.commands.values():
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if parameter.param_type_name == "option" and record is not None:
                assert record[0].replace("…", "...") in text, record
    for heading in ("SYNOPSIS", "NETKAT SNIFF", "EXIT STATUS", "Examples"):
        assert heading in text


def complete_by_bash(line: str) -> str:
    script = (
        'source <(netkat completion bash); COMP_LINE="$1"; COMP_WORDS=($1);'
        " COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _netkat_completion netkat;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return told(["bash", "--norc", "-c", script, "bash", line])


def complete_by_fish(line: str) -> str:
    return told(
        ["fish", "--no-config", "-c", f"netkat completion fish | source; complete -C '{line}'"]
    )


def told(argv: list[str]) -> str:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.stdout


def complete_by_zsh(line: str) -> str:
    """zsh completes in its line editor alone, so in a terminal."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        setup = "autoload -Uz compinit; compinit -u -D; source <(netkat completion zsh)"
        # What the terminal echoes has the quotes in it.
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        read_until(terminal, b"ready\r")
        os.write(terminal, line.encode() + b"\t")
        return read_until(terminal, b"connect").decode()
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def read_until(terminal: int, wanted: bytes) -> bytes:
    read, end = b"", time.monotonic() + 30
    while wanted not in read:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no {wanted!r} in {read!r}"
        read += os.read(terminal, 4096)
    return read


@pytest.mark.parametrize("complete", [complete_by_bash, complete_by_zsh, complete_by_fish])
def test_real_shells_complete(complete: Any) -> None:
    assert "connect" in complete("netkat conn")


def test_completion_for_a_shell_that_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netkat", "completion", "csh"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("netkat: completion: unsupported shell 'csh' (bash, zsh, fish)")
