"""-x between namespaces: danted, microsocks and ncat as proxies to what only their host reaches."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest

from netkat.cli.command_group import run
from tests.helpers.certificates import NAME, Certificates
from tests.helpers.netns import ROOT, Pair, netns_pair
from tests.helpers.peers import pattern

NETKAT = [sys.executable, "-m", "netkat"]
SIZE = 500_000
PORT, CLOSED, FORBIDDEN, TLS = 7600, 7601, 7602, 7603
SOCKS, SOCKS_AUTH, HTTP, HTTP_AUTH = 1080, 1081, 3129, 3128

DANTED = f"""
logoutput: /dev/null
internal: eth0 port = {SOCKS}
external: lo
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
client pass {{ from: ::/0 to: ::/0 }}
socks block {{ from: 0/0 to: 0/0 port = {FORBIDDEN} }}
socks pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: ::/0 to: 0/0 }}
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Pair]:
    """All of them on the peer, and on its loopback what takes SIZE bytes and gives as many."""
    folder = tmp_path_factory.mktemp("proxies")
    (folder / "danted.conf").write_text(DANTED)
    (folder / "down").write_bytes(pattern(SIZE, "down"))
    answer = f"SYSTEM:head -c {SIZE} | sha256sum | head -c 64; cat {folder}/down"
    with netns_pair("nkprx") as pair:
        peer = pair.peer
        peer.popen(["danted", "-f", f"{folder}/danted.conf", "-p", f"{folder}/pid", "-N", "1"])
        quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL}
        words = ["-p", str(SOCKS_AUTH), "-u", "bob", "-P", "secret"]
        peer.popen(["microsocks", *words], **quiet)
        ncat = ["ncat", "-lk", "--proxy-type", "http", "-p"]
        peer.popen([*ncat, str(HTTP)])
        peer.popen([*ncat, str(HTTP_AUTH), "--proxy-auth", "bob:secret"])
        peer.popen(["socat", f"TCP-LISTEN:{PORT},bind=127.0.0.1,fork,reuseaddr", answer], **quiet)
        s_server = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{TLS}", "-cert"]
        peer.popen([*s_server, certificates.good], stdout=subprocess.DEVNULL, **quiet)
        for port in (SOCKS, SOCKS_AUTH, HTTP, HTTP_AUTH, PORT, TLS):
            peer.wait_served(port)
        yield pair


def netkat(
    pair: Pair, proxy: int | str, *words: str, data: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    where = proxy if isinstance(proxy, str) else f"{pair.peer.ipv4}:{proxy}"
    argv = [*NETKAT, "-v", "-x", where, *words]
    done: Any = pair.host.run(argv, check=False, cwd=ROOT, input=data, text=False, env=environment)
    return done  # type: ignore[no-any-return]


WAYS: dict[str, tuple[int | str, list[str], dict[str, str]]] = {
    "SOCKS5": (SOCKS, [], {}),
    "SOCKS5 by IPv6": ("[fd99::2]", ["-X", "socks5"], {}),
    "SOCKS5, found here": (SOCKS, ["--proxy-dns", "local", "-4"], {}),
    "SOCKS5 with a password": (SOCKS_AUTH, ["-X", "5", "-P", "bob:secret"], {}),
    "SOCKS4": (SOCKS, ["-X", "4"], {}),
    "HTTP": (HTTP, ["-X", "connect"], {}),
    "HTTP with a password": (HTTP_AUTH, ["-X", "http"], {"NETKAT_PROXY_AUTH": "bob:secret"}),
    "HTTP by the kernel": (HTTP, ["-X", "connect", "--kernel"], {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_both_ways_by_hash(proxies: Pair, way: str) -> None:
    proxy, words, environment = WAYS[way]
    up = pattern(SIZE, "up")
    # Two of the three end both directions with one.
    words = [*words, "--no-shutdown", "localhost", str(PORT)]
    done = netkat(proxies, proxy, *words, data=up, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == hashlib.sha256(up).hexdigest().encode() + pattern(SIZE, "down")
    assert b"7600 port [tcp/*] succeeded!\nnetkat: connected through " in done.stderr
    assert way.split()[0].rstrip(",").encode() + b" proxy " in done.stderr


def test_tls_through_a_proxy(proxies: Pair, certificates: Certificates) -> None:
    words = ["-z", "--ssl-verify", "--ssl-trustfile", certificates.issuer]
    done = netkat(proxies, SOCKS, *words, "--ssl-servername", NAME, "localhost", str(TLS))
    assert done.returncode == 0, done.stderr
    assert b"netkat: certificate verified" in done.stderr
    done = netkat(proxies, SOCKS, *words, "localhost", str(TLS))
    assert done.returncode == 1
    assert b"through the proxy 10.99.0.2 port 1080 (tcp) failed: the peer's cert" in done.stderr
    assert b"is for another name" in done.stderr


def test_frames_go_to_the_proxy_alone(proxies: Pair) -> None:
    """A connection that ends at the proxy's address is what the host sees, and no look-up."""
    done = netkat(proxies, SOCKS, "-z", "-d", "localhost", str(TLS))
    assert done.returncode == 0, done.stderr
    frames = [line for line in done.stderr.splitlines() if b"Flags [" in line]
    assert frames
    assert all(b"10.99.0.2.1080" in line for line in frames)


FAULTS: dict[str, tuple[int, list[str], int, str]] = {
    "refused beyond": (
        SOCKS_AUTH,
        ["-P", "bob:secret"],
        CLOSED,
        "the proxy did not connect: connection refused by the destination",
    ),
    "forbidden": (SOCKS, [], FORBIDDEN, "the proxy did not connect: not allowed by its rules"),
    "SOCKS4": (SOCKS, ["-X", "4"], CLOSED, "the proxy did not connect: rejected or failed"),
    "HTTP": (HTTP, ["-X", "connect"], CLOSED, "the proxy did not connect: 504 Gateway Timeout"),
    "no password": (SOCKS_AUTH, [], PORT, "the proxy wants a user and a password"),
    "no password, HTTP": (
        HTTP_AUTH,
        ["-X", "connect"],
        PORT,
        "the proxy wants a user and a password",
    ),
    "wrong password": (SOCKS_AUTH, ["-P", "bob:x"], PORT, "the proxy does not accept the user"),
    "wrong password, HTTP": (
        HTTP_AUTH,
        ["-X", "connect", "-P", "bob:x"],
        PORT,
        "the proxy does not accept the user",
    ),
    "wrong kind": (
        SOCKS_AUTH,
        ["-X", "connect"],
        PORT,
        r"the peer is no HTTP proxy: it said b'\x05\xff'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_own_line(proxies: Pair, fault: str) -> None:
    proxy, words, port, expected = FAULTS[fault]
    done = netkat(proxies, proxy, *words, "127.0.0.1", str(port))
    assert done.returncode == 1, done.stderr
    *_, line, hint = done.stderr.decode().splitlines()
    place = f"connect to 127.0.0.1 port {port} through the proxy 10.99.0.2 port {proxy} (tcp)"
    assert line.startswith(f"netkat: {place} failed: {expected}")
    assert hint.startswith("  next: ")


def test_a_proxy_that_is_not_there(proxies: Pair) -> None:
    done = netkat(proxies, CLOSED, "127.0.0.1", str(PORT))
    assert done.returncode == 1
    line = f"netkat: connect to the proxy 10.99.0.2 port {CLOSED} (tcp) failed: Connection refused"
    assert f"{line} [RST from 10.99.0.2 ttl 64]" in done.stderr.decode()


def test_json_tells_of_the_proxy(proxies: Pair) -> None:
    done = netkat(proxies, SOCKS, "--json", "127.0.0.1", str(FORBIDDEN))
    told = json.loads(done.stderr.splitlines()[-1])
    assert (told["host"], told["remote"]) == ("127.0.0.1", {"address": "10.99.0.2", "port": SOCKS})
    assert (told["error"]["kind"], told["error"]["details"]["code"]) == ("ProxyRefused", 2)


class Terminal:
    """netkat with a terminal of its own, on which it asks."""

    def __init__(self, pair: Pair) -> None:
        self.master, slave = pty.openpty()
        where = f"{pair.peer.ipv4}:{SOCKS_AUTH}"
        argv = [*NETKAT, "-vz", "-x", where, "-P", "bob", "localhost", str(TLS)]
        self.child = pair.host.popen(
            ["setsid", "--ctty", "--wait", *argv], cwd=ROOT, stdin=slave, stderr=subprocess.PIPE
        )
        self._slave = slave
        seen = b""
        while f"Password of bob for the proxy {where}: ".encode() not in seen:
            assert select.select([self.master], [], [], 20)[0], seen
            seen += os.read(self.master, 1024)
        assert not self.echoes()

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> tuple[int, bytes]:
        _, said = self.child.communicate(timeout=20)
        assert self.echoes()
        os.close(self._slave)
        os.close(self.master)
        return self.child.returncode, said


def test_the_password_is_asked_for_on_the_terminal(proxies: Pair) -> None:
    terminal = Terminal(proxies)
    terminal.type(b"secret\n")
    code, said = terminal.end()
    assert code == 0, said
    assert b"succeeded!" in said


def test_ctrl_c_at_the_password_gives_the_echo_back(proxies: Pair) -> None:
    terminal = Terminal(proxies)
    terminal.type(b"sec\x03")
    assert terminal.end() == (128 + signal.SIGINT, b"")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-X", "5"], "-X requires -x"),
        (["-x", "p", "-u"], "-x cannot be used with -u: the proxy protocols support TCP only"),
        (["-x", "p", "-X", "6"], "-X: invalid proxy type '6'"),
        (["-x", "p", "-X", "4", "-P", "a:b"], "-P: SOCKS4 does not support passwords"),
        (["-x", "p", "-X", "4", "--proxy-dns", "remote"], "--proxy-dns remote cannot be used with"),
        (["-x", "p", "--proxy-dns", "you"], "--proxy-dns: invalid value 'you'"),
        (["-x", "p", "-P", ":b"], "-P: empty user name"),
        (["-x", "p", "-P", "bob:\u00e4"], "-P: the password must be 1 to 255 ASCII characters"),
        (["-x", "socks5://p"], "-x: 'socks5://p' is not ADDR[:PORT]"),
        (["-x", ""], "-x: invalid proxy ''"),
        (["-x", ":1080"], "-x: invalid proxy ':1080'"),
        (["-x", "p:0"], "port 0 is out of range"),
        (
            ["-x", "192.0.2.9", "-X", "4", "-n"],
            "web.test: not an IP address (-n disables name resolution)",
        ),
        (["-l", "-x", "p"], "-x cannot be used with -l: a proxy can only be used to connect"),
    ],
)
def test_conflicting_options(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "web.test", "1"]) == 2
    assert capsys.readouterr().err.startswith(f"netkat: {message}")


def test_the_environment_names_the_user_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETKAT_PROXY_AUTH", "a:b")
    assert run(["-x", "p", "-X", "4", "web.test", "1"]) == 2
    assert capsys.readouterr().err.startswith(
        "netkat: NETKAT_PROXY_AUTH: SOCKS4 does not support passwords"
    )
