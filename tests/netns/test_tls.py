"""--ssl between namespaces: openssl s_server and s_client, ncat, curl; every fault by name."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netkat.cli.command_group import run
from tests.helpers.certificates import NAME, Certificates
from tests.helpers.netns import ROOT, Namespace, Pair
from tests.helpers.peers import pattern
from tests.stack.network import eventually

NETKAT = [sys.executable, "-m", "netkat"]
PORT = 7500
SIZE = 4_000_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def listening(space: Namespace, child: subprocess.Popen[Any]) -> None:
    """Until somebody listens on PORT."""
    end = time.monotonic() + 20
    while not space.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout:
        assert child.poll() is None and time.monotonic() < end


@contextmanager
def server(pair: Pair, *argv: str, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A command that listens on PORT of the peer."""
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
    child = pair.peer.popen(argv, **options)
    try:
        listening(pair.peer, child)
        yield child
    finally:
        child.kill()
        child.wait()


def s_server(pair: Pair, certificate: str, *words: str, **options: Any) -> Any:
    """``openssl s_server`` with a certificate."""
    argv = ["openssl", "s_server", "-quiet", "-accept", str(PORT), "-cert", certificate, *words]
    return server(pair, *argv, **options)


def netkat(pair: Pair, *words: str, data: str = "") -> subprocess.CompletedProcess[str]:
    argv = [*NETKAT, "-v", *words, pair.peer.ipv4, str(PORT)]
    return pair.host.run(argv, check=False, cwd=ROOT, input=data)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_an_upload_to_s_server(
    pair: Pair, certificates: Certificates, tmp_path: Path, version: str
) -> None:
    (tmp_path / "sent").write_bytes(pattern(SIZE))
    argv = [*NETKAT, "-v", "--ssl-verify", "--ssl-trustfile", certificates.issuer]
    words = ["-naccept", "1", version]
    with (
        (tmp_path / "got").open("wb") as sink,
        s_server(pair, certificates.good, *words, stdin=subprocess.PIPE, stdout=sink) as child,
        (tmp_path / "sent").open("rb") as source,
    ):
        done = pair.host.run([*argv, pair.peer.ipv4, str(PORT)], stdin=source, cwd=ROOT)
        assert child.wait(20) == 0
    assert (tmp_path / "got").read_bytes() == pattern(SIZE)
    assert f"netkat: TLS {version[-3:].replace('_', '.')}, " in done.stderr
    assert "netkat: certificate verified" in done.stderr


def test_a_page_of_s_server(pair: Pair, certificates: Certificates, tmp_path: Path) -> None:
    """Through to the end, with close_notify, although our own went first; and what -v tells."""
    (tmp_path / "page").write_bytes(pattern(SIZE))
    with s_server(pair, certificates.good, "-HTTP", "-alpn", "h2,http/1.1", cwd=tmp_path):
        argv = [*NETKAT, "-v", "--ssl", "--ssl-alpn", "http/1.1", pair.peer.ipv4, str(PORT)]
        done: Any = pair.host.run(argv, input=b"GET /page HTTP/1.0\r\n\r\n", text=False, cwd=ROOT)
    assert done.stdout == pattern(SIZE)
    said = done.stderr.decode()
    assert re.search(r"^netkat: TLS 1\.3, TLS_AES_256_GCM_SHA384, ALPN http/1\.1$", said, re.M)
    certificate = rf"^netkat: certificate subject .*, names {NAME} .*, issuer .*, valid"
    assert re.search(certificate, said, re.M)
    raw = subprocess.run(
        ["openssl", "x509", "-in", certificates.good, "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"netkat: SHA-256 fingerprint: {raw.strip().partition('=')[2]}" in said
    assert "netkat: certificate NOT verified (use --ssl-verify)" in said


def test_the_name_goes_out(pair: Pair, certificates: Certificates) -> None:
    """SNI, and the name that is verified: of HOST, or another."""
    words = ["-servername", NAME, "-servername_fatal", "-key2", certificates.good]
    words += ["-cert2", certificates.good]
    trust = ["--ssl-verify", "--ssl-trustfile", certificates.issuer]
    with s_server(pair, certificates.other_name, *words):
        done = netkat(pair, "-z", *trust, "--ssl-servername", NAME)
        assert done.returncode == 0, done.stderr
        assert f"names {NAME} " in done.stderr


FAULTS = {
    "other name": ("other_name", [], ["--ssl-verify"], "is for another name: IP address mismatch"),
    "expired": ("expired", [], ["--ssl-verify"], "the peer's certificate has expired"),
    "foreign": ("foreign", [], ["--ssl-verify"], "certificate has an unknown issuer"),
    "self-signed": ("self_signed", [], ["--ssl-verify"], "is self-signed, not a trusted one"),
    "version": (
        "good",
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["--ssl"],
        "TLS: no common TLS version, says the peer",
    ),
    "cipher": (
        "good",
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        ["--ssl", "--ssl-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        "TLS: no common cipher or other parameter, says the peer (handshake_failure)",
    ),
    "ALPN": (
        "good",
        ["-alpn", "http/1.1"],
        ["--ssl", "--ssl-alpn", "h2"],
        "TLS: no common ALPN protocol, says the peer",
    ),
    "client certificate": (
        "good",
        ["-Verify", "1", "-verify_return_error", "-tls1_2"],
        ["--ssl"],
        "no common cipher or other parameter, says the peer (handshake_failure)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_own_line(pair: Pair, certificates: Certificates, fault: str) -> None:
    certificate, theirs, ours, words = FAULTS[fault]
    if "--ssl-verify" in ours:
        ours = [*ours, "--ssl-trustfile", certificates.issuer]
    with s_server(pair, getattr(certificates, certificate), *theirs):
        done = netkat(pair, "-z", *ours)
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-2].startswith(f"netkat: connect to {pair.peer.ipv4} port {PORT} (tcp) failed: ")
    assert words in lines[-2]
    assert lines[-1].startswith("  next: ")


def test_a_certificate_that_is_asked_for(pair: Pair, certificates: Certificates) -> None:
    """TLS 1.3: the refusal comes after the client's handshake is done."""
    words = ["-Verify", "1", "-verify_return_error", "-CAfile", certificates.issuer]
    with s_server(pair, certificates.good, *words, stdin=subprocess.PIPE):
        done = netkat(pair, "--ssl", "--no-stdin")
        assert done.returncode == 1
        assert "TLS: the peer refused with the alert certificate_required" in done.stderr
        done = netkat(pair, "-z", "--ssl", "--ssl-cert", certificates.client)
        assert done.returncode == 0, done.stderr


def test_a_peer_without_tls(pair: Pair) -> None:
    with server(pair, "socat", f"TCP-LISTEN:{PORT},reuseaddr", "SYSTEM:echo SSH-2.0; cat"):
        done = netkat(pair, "--ssl")
    assert done.returncode == 1
    assert r"failed: the peer does not speak TLS: it said b'SSH-2.0\n" in done.stderr


def test_a_peer_that_says_nothing_and_a_signal(pair: Pair) -> None:
    with server(pair, "socat", "-u", f"TCP-LISTEN:{PORT},fork", "OPEN:/dev/null"):
        done = netkat(pair, "--ssl", "-w", "1500ms")
        assert done.returncode == 1
        assert "failed: the peer did not answer the TLS handshake in 1.5 s" in done.stderr
        argv = [*NETKAT, "-v", "--ssl", "-w", "60", pair.peer.ipv4, str(PORT)]
        child = pair.host.popen(argv, cwd=ROOT, stderr=subprocess.PIPE)
        while not pair.peer.run(["ss", "-Htn", f"sport = :{PORT}"]).stdout:
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 130
        assert child.stderr is not None
        child.stderr.close()


class Listener:
    """``netkat -l --ssl``, which has said that it listens."""

    def __init__(self, pair: Pair, certificates: Certificates, *words: str, **options: Any) -> None:
        argv = [*NETKAT, "-v", "-l", "--ssl", "--ssl-cert", certificates.good, *words]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        self.child: subprocess.Popen[bytes] = pair.host.popen(
            [*argv, pair.host.ipv4, str(PORT)], cwd=ROOT, **options
        )
        assert self.child.stderr is not None
        self.stderr = b""
        while b"Listening on" not in self.stderr:
            assert select.select([self.child.stderr], [], [], 20)[0]
            chunk = os.read(self.child.stderr.fileno(), 65536)
            assert chunk, self.stderr
            self.stderr += chunk

    def end(self) -> tuple[int, bytes, str]:
        out, said = self.child.communicate(timeout=20)
        return self.child.returncode, out, (self.stderr + said).decode()


@pytest.mark.parametrize("tool", ["openssl", "ncat"])
def test_both_ways_with_a_real_client(
    pair: Pair, certificates: Certificates, tmp_path: Path, tool: str
) -> None:
    ours, theirs = pattern(SIZE, "ours"), pattern(SIZE, "theirs")
    (tmp_path / "theirs").write_bytes(theirs)
    where = (pair.host.ipv4, str(PORT))
    argv: Sequence[str] = ["ncat", "--ssl", *where]
    if tool == "openssl":
        argv = ["openssl", "s_client", "-quiet", "-connect", ":".join(where)]
    with (tmp_path / "got").open("wb") as sink:
        listener = Listener(pair, certificates, stdin=subprocess.PIPE, stdout=sink)
    stdin, listener.child.stdin = listener.child.stdin, None
    assert stdin is not None

    def answer() -> None:
        with stdin:
            stdin.write(ours)
            stdin.flush()
            # s_client exits on close_notify and discards the rest of its own input.
            assert eventually(lambda: (tmp_path / "got").stat().st_size == SIZE, 20)

    with (tmp_path / "theirs").open("rb") as source, ThreadPoolExecutor(1) as pool:
        answering = pool.submit(answer)
        client: Any = pair.peer.run(argv, stdin=source, text=False, check=False)
        answering.result()
    code, _, said = listener.end()
    assert client.stdout == ours
    assert (tmp_path / "got").read_bytes() == theirs
    # ncat's own FIN comes without close_notify, unless it has heard ours before.
    cut = "ended the connection without close_notify" in said
    assert code == 0 or (tool, code, cut) == ("ncat", 1, True), said


def test_many_clients_and_curl(pair: Pair, certificates: Certificates) -> None:
    listener = Listener(pair, certificates, "-k", "--reply", "http", "--ssl-alpn", "http/1.1")
    plain = pair.peer.popen(
        ["nc", pair.host.ipv4, str(PORT)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    url = f"https://{NAME}:{PORT}/"
    argv = ["curl", "-sS", "--cacert", certificates.issuer, url]
    argv += ["--resolve", f"{NAME}:{PORT}:{pair.host.ipv4}"]
    for _ in range(2):
        # While a client that never begins its handshake is there.
        assert pair.peer.run(argv).stdout.startswith(f"client {pair.peer.ipv4}:")
    plain.communicate(b"GET / HTTP/1.0\r\n\r\n", timeout=20)
    listener.child.send_signal(signal.SIGTERM)
    code, _, said = listener.end()
    assert code == 143
    assert "does not speak TLS: it said b'GET / HTTP/1.0" in said
    assert said.count("netkat: TLS 1.3, ") == 2


def test_a_command_over_tls(pair: Pair, certificates: Certificates) -> None:
    listener = Listener(pair, certificates, "-c", "read word; echo hello $word")
    argv = ["openssl", "s_client", "-quiet", "-connect", f"{pair.host.ipv4}:{PORT}"]
    client = pair.peer.run(argv, input="you\n", check=False)
    assert client.stdout == "hello you\n"
    assert listener.end()[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ssl", "-u"], "--ssl cannot be used with -u: TLS runs over TCP"),
        (["--ssl-alpn", "h2"], "--ssl-alpn requires --ssl"),
        (["--ssl", "--ssl-trustfile", "x"], "--ssl-trustfile requires --ssl-verify"),
        (["--ssl", "--ssl-key", "x"], "--ssl-key requires --ssl-cert"),
        (["--ssl", "--ssl-cert", "/nowhere"], "--ssl-cert: /nowhere: No such file or directory"),
        (["--ssl", "--ssl-alpn", "h2,"], "--ssl-alpn: invalid protocol ''"),
        (["-l", "--ssl"], "--ssl with -l requires --ssl-cert and --ssl-key"),
    ],
)
def test_conflicting_options(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "192.0.2.1", "1"]) == 2
    assert capsys.readouterr().err.startswith(f"netkat: {message}\n")
