"""The command line without root, library or network: help, version, completion, mistakes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from netkat._version import __version__
from netkat.cli import command_group
from netkat.commands.connect.connect_request import ConnectRequest
from netkat.commands.relay.relay_options import FOR_EVER, RelayOptions
from netkat.flow import Protocol
from netkat.options import PathOptions

ROOT = Path(__file__).resolve().parents[2]
NETKAT = [sys.executable, "-m", "netkat"]


def netkat(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NETKAT, *arguments], capture_output=True, text=True, timeout=20, check=False, **options
    )


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_shows_both_forms_and_connects_options(word: str) -> None:
    done = netkat(word)
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("netkat [OPTIONS] HOST PORT", "connect", "clean", "demo", "--via", "--version"):
        assert text in done.stdout


@pytest.mark.parametrize("command", ["doctor", "connect", "listen", "clean", "demo"])
def test_every_command_has_help(command: str) -> None:
    done = netkat(command, "-h")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: netkat {command}")


def test_help_is_connects_after_an_option() -> None:
    assert netkat("-v", "--help").stdout.startswith("Usage: netkat connect")


@pytest.mark.parametrize("words", [["--version"], ["sniff", "--version"]], ids=" ".join)
def test_version(words: list[str]) -> None:
    done = netkat(*words)
    gvisor = re.search(r"gvisor\.dev/gvisor (\S+)", (ROOT / "go.mod").read_text())
    assert gvisor is not None
    kernel = f"Linux {os.uname().release} {os.uname().machine}"
    expected = f"netkat {__version__}\ngVisor {gvisor[1]}\n{kernel}\n"
    assert (done.returncode, done.stdout) == (0, expected)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["-w2", "-v", "host", "80"]])
def test_the_command_line_loads_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys, netkat.commands.connect.pipeline\n"
        "from netkat.cli.command_group import run\n"
        "netkat.commands.connect.pipeline.connect = lambda request, say: 0\n"
        f"run({words!r})\n"
        "heavy = {'pyroute2', 'pydantic', 'rich', '_cffi_backend', 'netkat.engine', 'bcc'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stderr == "[]\n"


def test_help_is_fast() -> None:
    took, bare = [], []
    for _ in range(5):
        began = processor_time()
        netkat("--help")
        between = processor_time()
        subprocess.run([sys.executable, "-c", "import typer"], check=True, timeout=20)
        took.append(between - began)
        bare.append(processor_time() - between)
    # 90 ms on two quiet cores, where typer alone takes 70. Side by side, since a busy
    # machine slows both; the best of five says what it costs.
    assert min(took) < 3 * min(bare)


def processor_time() -> float:
    """Of all children so far, in seconds: what others do on this machine is not in it."""
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    done = subprocess.run(
        NETKAT,
        env={"_NETKAT_COMPLETE": f"source_{shell}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0
    assert "netkat" in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("netkat cl", {"clean"}),
        ("netkat connect --vi", {"--via"}),
        ("netkat --nod", {"--nodns"}),
        ("netkat --vers", {"--version"}),
        ("netkat connect --guard c", {"clsact", "cbpf"}),
        ("netkat -v --guard so", {"socket"}),
        ("netkat -i l", {"lo"}),
    ],
)
def test_completion(line: str, expected: set[str]) -> None:
    words = line.split()
    done = subprocess.run(
        NETKAT,
        env={
            "_NETKAT_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no host given"),
        (["host"], "no port given"),
        (["host", "80", "81"], "81"),
        (["host", "99999"], "99999"),
        (["host", "0"], "out of range"),
        (["-l", "70000"], "port 70000 is out of range"),
        (["-l", "-p", "70000"], "-p 70000 is out of range"),
        (["-l", "such-no"], "port: 'such-no' is neither"),
        (["-l", "::1", "10.0.0.1", "80"], "too many arguments"),
        (["", "80"], "empty host name"),
        (["host", ""], "empty port"),
        (["host", "20-30"], "require -z"),
        (["192.0.2.1", "\udcff"], "udcff/tcp: no such service"),
        (["\udcff", "80"], "udcff: not a host name"),
        (["-w", "soon", "host", "80"], "invalid time 'soon'"),
        (["host", "80", "-w"], "-w"),
        (["host", "80", "--nope"], "--nope"),
        (["host", "80", "--guard", "iron"], "'iron'"),
        (["host", "80", "--via", "nowhere"], "--via"),
        (["host", "80", "-s", "nowhere"], "-s"),
        (["host", "80", "-p", "70000"], "-p"),
        (["-46", "host", "80"], "cannot be used together"),
        (["-6", "-s", "10.0.0.1", "host", "80"], "-s 10.0.0.1 cannot be used with -6"),
        (["-s", "::1", "--via", "10.0.0.1", "host", "80"], "-s ::1 cannot be used with --via"),
        (["-s", "::1", "10.0.0.1", "80"], "-s ::1 cannot be used with 10.0.0.1"),
        (["--claim", "10.0.0.9", "::1", "80"], "--claim 10.0.0.9 cannot be used with ::1"),
        (["--via", "fe80::1", "10.0.0.1", "80"], "--via fe80::1 cannot be used with 10.0.0.1"),
        (["-6", "::ffff:10.0.0.1", "80"], "-6 cannot be used with ::ffff:10.0.0.1"),
        (["-4", "::1", "80"], "-4 cannot be used with ::1"),
        (["-s", "10.0.0.1", "--claim", "10.0.0.2", "host", "80"], "-s cannot be used with --claim"),
        (["-s", "0.0.0.0", "host", "80"], "-s: 0.0.0.0 is not a usable source address"),
        (["-i", "5", "host", "80"], "interface"),
        (["-q", "soon", "host", "80"], "invalid time 'soon'"),
        (["-q", "-2", "host", "80"], "-q: invalid time '-2'"),
        (["--interval", "0", "host", "80"], "--interval: 0 is out of range"),
        (["--send-only", "--no-stdin", "host", "80"], "cannot be used together"),
        (["--send-only", "--recv-only", "host", "80"], "cannot be used together"),
        (["-N", "--no-shutdown", "host", "80"], "cannot be used together"),
        (["-t", "-u", "host", "80"], "-t cannot be used with -u"),
        (["--kernel", "--via", "10.0.0.1", "host", "80"], "--via cannot be used with --kernel"),
        (["--kernel", "--claim", "10.0.0.1", "host", "80"], "--claim cannot be used with --kernel"),
        (["--kernel", "--guard", "tcx", "host", "80"], "--guard cannot be used with --kernel"),
        (["--kernel", "--qdisc-bypass", "host", "80"], "--qdisc-bypass cannot be used with"),
        (["--kernel", "-d", "host", "80"], "-d cannot be used with --kernel"),
        (["--kernel", "--pcap", "x", "host", "80"], "--pcap cannot be used with --kernel"),
        (["clean", "extra"], "extra"),
        (["doctor", "extra"], "extra"),
        (["doctor", "--nope"], "--nope"),
        (["doctor", "-i", "5"], "interface"),
        (["doctor", "-i", ""], "empty"),
        (["host\nname", "80", "81\n"], r"81\n:"),
    ],
)
def test_a_mistake_is_one_line_and_a_next_step(arguments: list[str], words: str) -> None:
    done = netkat(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("netkat: ")
    assert words in lines[0]
    assert len(lines) <= 2
    assert all(line.startswith("  next: ") for line in lines[1:])


def test_closed_standard_descriptors_are_survived() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *NETKAT, "host", "0"], timeout=20, check=False
    )
    assert done.returncode == 2
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *NETKAT, "--help"],
        timeout=20,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_into_a_closed_pipe_is_quiet() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" | true', "sh", *NETKAT, "--help"],
        timeout=20,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""


@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "not"])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["completion", "bash"]], ids=str)
def test_standard_output_that_is_full_is_said(words: list[str], buffered: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*NETKAT, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
            env={**kept, **buffered},
        )
    assert done.returncode == 1
    said, following = done.stderr.splitlines()
    assert said == "netkat: cannot write standard output: No space left on device"
    assert following.startswith("  next: ")


def test_help_cuts_no_sentence_off() -> None:
    listed = netkat("--help").stdout.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert "..." not in listed
    names = [line.split()[0] for line in listed.splitlines() if not line.startswith("   ")]
    assert names == list(command_group._NAMES)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[ConnectRequest]:
    """What the command line asks for, asked of nobody."""
    asked: list[ConnectRequest] = []

    def connect(request: ConnectRequest, say: object) -> int:
        asked.append(request)
        return 0

    import netkat.commands.connect.pipeline

    monkeypatch.setattr(netkat.commands.connect.pipeline, "connect", connect)
    return asked


def test_all_options_arrive(requests: list[ConnectRequest]) -> None:
    line = (
        "-6uvvnzd -s fe80::1%lo -p 4000 -i lo -w 500ms --via 02:00:00:00:00:01 --guard cbpf"
        " --no-stdin host 53"
    )
    assert command_group.run(line.split()) == 0
    assert requests == [
        ConnectRequest(
            host="host",
            port="53",
            protocol=Protocol.UDP,
            path=PathOptions(
                ip_address("fe80::1%lo"), 4000, "lo", b"\x02\0\0\0\0\x01", guard="cbpf"
            ),
            wait=0.5,
            version=6,
            numeric=True,
            zero=True,
            ports=(53,),
            read_stdin=False,
            relay=RelayOptions(idle=0.5),
            verbosity=2,
            show_frames=True,
        )
    ]


def test_long_names_are_the_same(requests: list[ConnectRequest]) -> None:
    line = (
        "--ipv4 --udp --nodns --zero --verbose --wait 2 --source 10.0.0.1 --source-port 7"
        " --interface lo --debug host http"
    )
    assert command_group.run(["connect", *line.split()]) == 0
    assert (
        command_group.run(["-4unzv", "-w2", "-s10.0.0.1", "-p7", "-ilo", "-d", "host", "http"]) == 0
    )
    assert requests[0] == requests[1]


RELAY_WORDS = [
    ("-q 0", RelayOptions(linger=0.0)),
    ("-q 1.5", RelayOptions(linger=1.5)),
    ("-q -1", RelayOptions(linger=FOR_EVER)),
    ("-w 3", RelayOptions(idle=3)),
    ("-w 3 --idle-timeout 5m", RelayOptions(idle=300)),
    ("--no-shutdown", RelayOptions(shutdown=False)),
    ("--send-only", RelayOptions(send_only=True)),
    ("--interval 1", RelayOptions(interval=1)),
    ("--delay 100ms", RelayOptions(interval=0.1)),
    ("-Ct", RelayOptions(crlf=True, telnet=True)),
    ("--crlf --telnet", RelayOptions(crlf=True, telnet=True)),
    ("-N", RelayOptions(fin_requested=True)),
]


@pytest.mark.parametrize(("words", "relay"), RELAY_WORDS, ids=[row[0] for row in RELAY_WORDS])
def test_how_stdin_and_connection_go_together(
    requests: list[ConnectRequest], words: str, relay: RelayOptions
) -> None:
    assert command_group.run([*words.split(), "host", "80"]) == 0
    assert requests[0].relay == relay
    assert requests[0].read_stdin


@pytest.mark.parametrize("word", ["--no-stdin", "--recv-only"])
def test_input_that_is_not_read(requests: list[ConnectRequest], word: str) -> None:
    assert command_group.run([word, "host", "80"]) == 0
    assert not requests[0].read_stdin


def test_a_host_named_like_a_command(requests: list[ConnectRequest]) -> None:
    assert command_group.run(["connect", "clean", "80"]) == 0
    assert command_group.run(["-v", "clean", "80"]) == 0
    assert [request.host for request in requests] == ["clean", "clean"]


def test_options_after_host_and_port(requests: list[ConnectRequest]) -> None:
    assert command_group.run(["host", "80", "-z"]) == 0
    assert command_group.run(["--", "host", "80"]) == 0
    assert [request.zero for request in requests] == [True, False]


def test_brackets_around_ipv6(requests: list[ConnectRequest]) -> None:
    assert command_group.run(["[2001:db8::1]", "80"]) == 0
    assert requests[0].host == "2001:db8::1"


VOCABULARY = (
    "connect -4 -6 -u -s -p -i -w -v -vv -n -z -d --via --guard --debug --no-stdin --udp"
    " --wait --source --interface --zero --verbose=3 --wait= -w= -wz -ilo host 80 http 10.0.0.1"
    " ::1 fe80::1%lo 1s 500ms auto none -- - -- --version --help -h -D -F -S -U -Z"
)
WORDS = st.one_of(
    st.text(max_size=12).filter(lambda word: "\0" not in word),
    st.sampled_from(VOCABULARY.split(" ")),
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(arguments=st.lists(WORDS, max_size=8))
@example(arguments=["\udc80", "80"])
@example(arguments=["--guard", "\n", "a", "1"])
@example(arguments=["a", "1", "-i", "\udc80"])
def test_no_command_line_is_a_traceback(
    requests: list[ConnectRequest], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    # Those have tests of their own, and would do what they say.
    if arguments and arguments[0] in ("clean", "doctor", "demo"):
        return
    before = len(requests)
    code = command_group.run(arguments)
    captured = capsys.readouterr()
    assert code in (0, 2)
    if code == 0:
        assert len(requests) == before + 1 or captured.out.startswith(("Usage: ", "netkat "))
        assert captured.err == ""
    else:
        assert captured.out == ""
        lines = captured.err.split("\n")
        assert lines[0].startswith("netkat: ")
        assert lines[-1] == "" and len(lines) <= 3
