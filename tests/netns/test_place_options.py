"""--netns, --pod and --container: wherever one of them stands, a process stands for its place."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netkat.capture.capture_file import CaptureFile
from tests.helpers.cgroups import container
from tests.helpers.exchange import netkat
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer
from tests.helpers.sniffing import Sniffing
from tests.netns.test_listen_cli import Listener

POD = "shop/web-7d9f"
KUBELET = """
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
echo shop > /run/secrets/kubernetes.io/serviceaccount/namespace
exec sleep 60
"""


@pytest.fixture
def words(pair: Pair) -> Iterator[dict[str, tuple[str, str]]]:
    """The options, each with a word for the pair's ``host``, where a pod's process sleeps."""
    command = ["unshare", "-m", "sh", "-ec", KUBELET]
    with container() as found:
        sleeper = pair.host.popen(command, env={"HOSTNAME": "web-7d9f"})
        end = time.monotonic() + 10
        while Path(f"/proc/{sleeper.pid}/comm").read_text() != "sleep\n":
            assert sleeper.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        found.take(sleeper.pid)
        yield {
            "netns": ("--netns", pair.host.name),
            "pid": ("--netns", str(sleeper.pid)),
            "container": ("--container", f"containerd://{found.id}"),
            "pod": ("--pod", POD),
        }


def here(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """netkat in the tests' own namespace."""
    return subprocess.run(
        netkat(*arguments), input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=30
    )


class Here:
    """Stands for a namespace where a command's place is to come from its options alone."""

    @staticmethod
    def popen(argv: list[str], **options: object) -> subprocess.Popen[bytes]:
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(argv, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("kind", ["container", "pod"])
def test_connect(kind: str, pair: Pair, words: dict[str, tuple[str, str]]) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        done = here(*words[kind], pair.peer.ipv4, str(server.port), stdin="hello")
        assert (done.returncode, done.stdout) == (0, "hello"), done.stderr
        assert server.event("closed")["peer"][0] == pair.host.ipv4


@pytest.mark.parametrize("kind", ["netns", "pid", "container", "pod"])
def test_listen(kind: str, pair: Pair, words: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    """With the frames of it shown and written, as connect has them."""
    file = tmp_path / "own.pcapng"
    stand_in = Pair(Here(), pair.peer)  # type: ignore[arg-type]
    arguments = (*words[kind], "-d", "--pcap", file, "-i", "eth0", 7300)
    listener = Listener(stand_in, *arguments)
    try:
        answer = pair.peer.run(["nc", "-N", pair.host.ipv4, "7300"], input="from nc")
        code, out, said = listener.end(b"")
    finally:
        listener.child.kill()
        listener.child.wait()
    assert (code, out, answer.stdout) == (0, b"from nc", "")
    assert f"Listening on {pair.host.ipv4} 7300 (eth0)".encode() in said
    shown = [line for line in said.decode().splitlines() if "Flags [S" in line]
    assert len(shown) == 2 and all(line.split()[1] == "eth0" for line in shown)
    with CaptureFile(str(file)) as capture:
        summaries = [packet.summary() for packet in capture.packets]
    assert sum("Flags [S" in line for line in summaries) == 2
    assert any("length 7" in line for line in summaries)


@pytest.mark.parametrize("kind", ["container", "pod"])
def test_sniff(kind: str, pair: Pair, words: dict[str, tuple[str, str]]) -> None:
    with Sniffing(Here(), *words[kind], "-i", "eth0", "-Q", "in", "-nt", "icmp") as watching:  # type: ignore[arg-type]
        pair.peer.run(["ping", "-c1", pair.host.ipv4])
        said = watching.end()
    assert len(said.lines) == 1
    assert said.lines[0].startswith(f"IP {pair.peer.ipv4} > {pair.host.ipv4}: ICMP echo request")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--container", "deadbeef" * 8], "container deadbeef"),
        (["--pod", "shop/no-such-pod"], "pod shop/no-such-pod not found on this node"),
        (
            ["--pod", "a/b", "--container", "deadbeef"],
            "--pod and --container cannot be used together",
        ),
        (["--container", "../../proc"], "invalid container ID"),
        (["--netns", "no-such-namespace"], "no network namespace 'no-such-namespace'"),
    ],
)
@pytest.mark.parametrize("command", [["-l", "80"], ["192.0.2.1", "80"], ["sniff", "-i", "eth0"]])
def test_names_that_nothing_here_has(
    command: list[str], arguments: list[str], complaint: str
) -> None:
    first, *rest = command
    done = here(first, *arguments, *rest) if first == "sniff" else here(*arguments, *command)
    assert done.returncode == 2
    first, *more = done.stderr.splitlines()
    assert complaint in first
    assert len(more) == 1 and more[0].startswith("  next: ")
