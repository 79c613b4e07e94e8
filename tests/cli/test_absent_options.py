"""Options of other netcats that are not there, or not for this role: what is said of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netkat.cli import command_group

Refused = Callable[[str], list[str]]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """What a command line that is a mistake says on stderr, line by line."""

    def run(line: str) -> list[str]:
        assert command_group.run(line.split()) == 2
        said = capsys.readouterr()
        assert said.out == ""
        return said.err.splitlines()

    return run


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("-D", "-vv"),
        ("-F", "stdout"),
        ("-G", "--via"),
        ("-g", "--via"),
        ("-S", "nc"),
        ("-U", "nc"),
        ("-Z", "nc"),
        ("--allowfile", "--allow"),
        ("--broker", "ncat"),
        ("--chat", "ncat"),
        ("--denyfile", "--deny"),
        ("--lua-exec", "Python package"),
        ("--sctp", "ncat"),
        ("--unixsock", "ncat"),
        ("--vsock", "ncat"),
    ],
)
def test_unsupported_option_names_replacement(refused: Refused, option: str, instead: str) -> None:
    for line in (f"{option} host 80", f"-l {option} 80"):
        (said,) = refused(line)
        assert said.startswith(f"netkat: {option} is not supported: ")
        assert instead in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-k host 80", "-k is only valid with -l"),
        ("--max-conns 3 host 80", "--max-conns is only valid with -l"),
        ("--allow 10.0.0.0/8 host 80", "--allow is only valid with -l"),
        ("--reply echo host 80", "--reply is only valid with -l"),
        ("-l -r 80", "-r is not valid with -l"),
        ("-l --via 10.0.0.1 80", "--via is not valid with -l"),
        ("-l -V 100 80", "-V is not valid with -l"),
        ("-l -P user 80", "-P is not valid with -l"),
        ("-l --kernel 80", "--kernel is not valid with -l"),
        ("-lz 80", "-z cannot be used with -l"),
        ("-l -x 10.0.0.1:1080 80", "-x cannot be used with -l"),
    ],
)
def test_options_of_the_other_role(refused: Refused, line: str, words: str) -> None:
    lines = refused(line)
    assert lines[0].startswith(f"netkat: {words}")
    assert all(line.startswith("  next: ") for line in lines[1:])


@pytest.mark.parametrize("line", ["-i 1 host 80", "-i 500ms host 80", "-l -i 5 80"])
def test_numeric_interface_hint(refused: Refused, line: str) -> None:
    fault, hint = refused(line)
    assert "no such interface: " in fault
    assert "--interval TIME" in hint and "--idle-timeout TIME" in hint
