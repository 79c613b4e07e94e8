"""Programs that people use, at the other end: curl and nginx, iperf3's datagrams."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.nginx import nginx
from tests.helpers.peers import pattern

NETKAT = [sys.executable, "-m", "netkat"]
PORT = 7800


@pytest.mark.parametrize("version", [4, 6])
def test_curl_asks_nginx_through_two_netkats(pair: Pair, tmp_path: Path, version: int) -> None:
    """curl's own request, taken by a listener; nginx's own answer to it, given to curl.

    The request goes without a FIN: at one, nginx gives up what it has not sent yet.
    """
    host, peer = pair.host.address(version), pair.peer.address(version)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with nginx(pair.peer, tmp_path) as served:
        (served.files / "page").write_bytes(content := pattern(3_000_000))
        listener = pair.host.popen([*NETKAT, "-v", "-l", host, str(PORT)], cwd=ROOT, **pipes)
        assert listener.stdin and listener.stdout and listener.stderr
        while not listener.stderr.readline().startswith(b"Listening on "):
            assert listener.poll() is None
        url = f"http://{f'[{host}]' if version == 6 else host}:{PORT}/page"
        words = ["-sS", "-g", "-H", "Connection: close", "-D", str(tmp_path / "headers")]
        curl = pair.peer.popen(
            ["curl", *words, "-o", str(tmp_path / "got"), url], stderr=subprocess.PIPE
        )
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += os.read(listener.stdout.fileno(), 65536)
        assert request.startswith(b"GET /page HTTP/1.1\r\n") and b"User-Agent: curl/" in request
        asked = [*NETKAT, "--no-shutdown", peer, "80"]
        answer = pair.host.run(asked, input=request, text=False, check=False, cwd=ROOT)
        assert answer.returncode == 0, answer.stderr
        listener.communicate(answer.stdout, timeout=60)
        said = curl.communicate(timeout=60)[1].decode()
    assert (said, curl.returncode, listener.returncode) == ("", 0, 0)
    assert (tmp_path / "got").read_bytes() == content
    assert f"X-From: {host}" in (tmp_path / "headers").read_text()


TEST_START, TEST_RUNNING, PARAM_EXCHANGE, CREATE_STREAMS = b"\1", b"\2", b"\x09", b"\x0a"
"""States that iperf3's server tells its client (iperf_api.h)."""


def test_datagrams_of_iperf3(pair: Pair) -> None:
    """The test is iperf3's client on the control connection; the datagrams go to netkat.

    iperf3 numbers them: every one comes out, whole and in order.
    """
    size, count = 1200, 300
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = pair.peer.popen(["iperf3", "-s", "-1", "-p", str(PORT)], **quiet)
    pair.peer.wait_served(PORT)
    where = (pair.peer.ipv4, PORT)
    with pair.host.call(lambda: socket.create_connection(where, 20)) as control:
        control.sendall(b"netkat".ljust(36, b"x") + b"\0")  # a cookie
        assert control.recv(1) == PARAM_EXCHANGE
        order = {"udp": True, "reverse": True, "omit": 0, "parallel": 1, "len": size}
        asked = json.dumps({**order, "num": size * count, "bandwidth": 10_000_000}).encode()
        control.sendall(struct.pack("!I", len(asked)) + asked)
        assert control.recv(1) == CREATE_STREAMS
        argv = [*NETKAT, "-u", "-q", "-1", pair.peer.ipv4, str(PORT)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        netkat = pair.host.popen(argv, cwd=ROOT, **pipes)
        assert netkat.stdin and netkat.stdout
        netkat.stdin.write(b"here")
        netkat.stdin.flush()
        assert len(netkat.stdout.read(4)) == 4
        assert control.recv(1) + control.recv(1) == TEST_START + TEST_RUNNING
        data = netkat.stdout.read(size * count)
    # Each begins with the time, in seconds and microseconds, and its number.
    numbers = [number for _, _, number in struct.iter_unpack(f"!III{size - 12}x", data)]
    assert numbers == list(range(1, count + 1))
    netkat.terminate()
    netkat.communicate()
    server.kill()
    server.wait()
