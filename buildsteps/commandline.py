"""The command line for developers: `python3 build.py COMMAND`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from buildsteps import (
    api_page,
    checks,
    commit_message,
    debian,
    environment,
    manual,
    native,
    release,
    toolchain,
    vulnerabilities,
    wheels,
)
from buildsteps.debian import BPF, BUILD, DEMO, PEERS, PIP, PYTHON, ROOTS, Need
from buildsteps.toolchain import ROOT, CannotBuild

COMMANDS = {
    "demo": "build, install into .venv, run `netkat demo` (root)",
    "lint": "linters, type checker and gofmt",
    "test": "linters, type checker, Go's tests, pytest: ten minutes at most",
    "check": "the same, and tests that take longer",
    "bench": "compare with iperf3, socat, nc, ncat and kernel sockets (root; --short, --against)",
    "bpf": "compile netkat/bpf/*/*.c with the system's BCC",
    "build": "build the shared library, cffi modules and manual page, if stale",
    "api": "write docs/api.md from the docstrings",
    "wheels": "build the wheels for x86-64 and arm64 into dist/ (glibc 2.17 or later)",
    "release": "build and check what RELEASING.md names (--dry-run; nothing is published)",
    "clean": "remove what was built (not .venv)",
    "commit-message": "check the commit message in a file (-- FILE)",
    "help": "print this text",
}


def main(arguments: list[str]) -> int:
    """Exit code: 0 good, 1 something failed, 2 something could not be run or built, 130 Ctrl-C."""
    if "--" in arguments:
        at = arguments.index("--")
        arguments, rest = arguments[:at], arguments[at + 1 :]
    else:
        rest = []
    options = _parser().parse_args(arguments)
    try:
        if options.short:
            rest = ["--short", *rest]
        if options.against:
            rest = ["--against", options.against, *rest]
        ask = _may_ask(options.yes)
        return _run(options.command, rest, ask=ask, dry_run=options.dry_run)
    except CannotBuild as error:
        print(f"netkat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 build.py",
        description="\n".join(f"  {name:15} {what}" for name, what in COMMANDS.items()),
        epilog="Arguments after -- are passed to pytest (test, check), netkat demo or bench.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="help", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("--short", action="store_true", help="bench: under 90 s")
    parser.add_argument(
        "--against", metavar="REVISION", help="bench: compare with another revision, interleaved"
    )
    parser.add_argument("--dry-run", action="store_true", help="release: publish nothing")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="install missing Debian packages without asking (also with CI=true)",
    )
    return parser


def _run(command: str, rest: list[str], *, ask: bool, dry_run: bool = False) -> int:
    if command == "help":
        _parser().print_help()
        return 0
    if command == "clean":
        return _clean()
    if command == "api":
        print(f"wrote {api_page.PAGE.name}" if api_page.build() else "nothing to write")
        return 0
    if command == "commit-message":
        return commit_message.check(Path(rest[0]))
    toolchain.require_linux()
    if command == "lint":
        return _lint()
    if command == "build":
        return _build()
    if command == "wheels":
        return _wheels()
    if command == "release":
        if not dry_run:
            raise CannotBuild(
                "only release --dry-run is supported; RELEASING.md has the other steps"
            )
        environment.ensure(dev=False)
        return release.dry_run()
    if command == "bpf":
        debian.obtain(BPF, ask=ask)
        return subprocess.run(
            ["/usr/bin/python3", ROOT / "netkat/bpf/compile.py", *rest]
        ).returncode
    if command == "demo":
        return _demo(rest, ask=ask)
    if command == "bench":
        return _bench(rest, ask=ask)
    return _test(rest, ask=ask, slow=command == "check")


def _lint() -> int:
    environment.ensure(dev=True)
    go = toolchain.fitting_go()
    steps = checks.go_steps(go)[:1] if go else []
    return (
        1
        if any(result.failed for result in checks.run_parallel(checks.python_steps(), steps))
        else 0
    )


def _build() -> int:
    if importlib.util.find_spec("cffi") is None:
        environment.ensure(dev=False)
        environment.build()
    else:
        made = native.build()
        if importlib.util.find_spec("typer") is not None and manual.build():
            made.append(manual.PAGE.name)
        print("built " + ", ".join(made) if made else "nothing to build")
    return 0


def _wheels() -> int:
    environment.ensure(dev=False)
    wheels.build()
    print("kubectl-netkat is not part of this version: no wheel was built for it")
    return 0


def _demo(rest: list[str], *, ask: bool) -> int:
    if debian.obtain([*_foundation(), *DEMO], ask=ask):
        raise CannotBuild("the demo cannot run without them")
    environment.ensure(dev=False)
    environment.install()
    if not checks.is_root():
        raise CannotBuild("the demo makes network namespaces: run it as root (sudo)")
    return subprocess.run([environment.VENV / "bin" / "netkat", "demo", *rest]).returncode


def _bench(rest: list[str], *, ask: bool) -> int:
    if debian.obtain([*_foundation(), *DEMO, *PEERS], ask=ask):
        raise CannotBuild("the measurements cannot run without them")
    environment.ensure(dev=True)
    environment.install()
    if "--short" not in rest and "--against" not in rest:
        environment.ensure_also("bench", "matplotlib")
    if not checks.is_root():
        raise CannotBuild("the measurements make network namespaces: run them as root (sudo)")
    return subprocess.run([environment.PYTHON, "-m", "bench", *rest], cwd=ROOT).returncode


def _test(rest: list[str], *, ask: bool, slow: bool) -> int:
    """Run what can run, and list what did not."""
    roots = ROOTS if slow else []
    lacking = debian.obtain([*_foundation(), *DEMO, *BPF, *PEERS, *roots], ask=ask)
    if PIP in lacking:
        raise CannotBuild("without pip there is no .venv, and without it no tests")
    environment.ensure(dev=True)
    go = toolchain.fitting_go()
    if go is None:
        raise CannotBuild("the Go toolchain was removed")  # ensure() put one there
    folders, go_steps, left_out = ["tests/unit", "tests/repo", "tests/packaging"], [], list[str]()
    if any(need in lacking for need in BUILD):
        left_out.append("Go's tests, tests/stack, tests/cli, tests/netns: a C compiler is required")
    else:
        environment.install()
        folders += ["tests/stack", "tests/cli"]
        go_steps = checks.go_steps(go)
        if slow:
            go_steps += vulnerabilities.steps(go)
        if not checks.is_root():
            left_out.append("tests/netns: network namespaces require root")
        elif lacking:
            left_out.append("tests/netns: requires " + ", ".join(need.package for need in lacking))
        else:
            folders.append("tests/netns")
    rest_given = bool(rest)  # selects tests, so no measurements
    results = checks.run_parallel(checks.python_steps(), go_steps)
    if slow:
        rest = ["-m", "slow or not slow", *rest]
    results += checks.run_pytest(folders, rest)
    if "tests/netns" in folders and not rest_given:
        results.append(checks.run_bench())
    return checks.summary(results, left_out)


def _foundation() -> list[Need]:
    """Return what every build requires."""
    return [*PYTHON, *([PIP] if environment.lacks_pip() else []), *BUILD]


def _may_ask(yes: bool) -> bool:
    return (
        not yes and os.environ.get("CI", "").lower() not in ("true", "1") and debian.on_terminal()
    )


def _clean() -> int:
    for made in (native.LIBRARY, *native.MODULES.values()):
        made.unlink(missing_ok=True)
    for folder in ("build", "dist"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    return 0
