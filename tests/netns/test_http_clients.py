"""httpx, httpx2 and requests over netkat, against nginx, where the host lets nothing out."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
import urllib3

import netkat
import netkat.requests
from netkat import errors
from tests.helpers.netns import Pair, netns_pair
from tests.helpers.nginx import Nginx, nginx

BIG = os.urandom(3_000_000)
CLIENTS = ["httpx", "httpx2"] if sys.version_info >= (3, 11) else ["httpx"]


@dataclass(frozen=True)
class Web:
    """A pair with nginx at the peer, and a host whose OUTPUT chain drops everything."""

    pair: Pair
    nginx: Nginx

    def url(self, scheme: str, path: str, version: int = 4) -> str:
        address = self.pair.peer.address(version)
        return f"{scheme}://{f'[{address}]' if version == 6 else address}{path}"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with netns_pair("nkw") as pair, nginx(pair.peer, tmp_path_factory.mktemp("nginx")) as server:
        (server.files / "big").write_bytes(BIG)
        (server.files / "small").write_text("small\n")
        for tool in ("iptables-nft", "ip6tables-nft"):
            pair.host.run([tool, "-w", "-P", "OUTPUT", "DROP"])
        # uvloop keeps a pipe for the process, from its first run on.
        run(RUNTIMES[1], functools.partial(anyio.sleep, 0))
        yield Web(pair, server)


@pytest.fixture(params=CLIENTS)
def http(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def transport(http: Any, web: Web, **options: Any) -> Any:
    ours = importlib.import_module(f"netkat.{http.__name__}")
    options.setdefault("verify", web.nginx.trusting())
    return ours.Transport(netns=web.pair.host.name, **options)


def awaited(http: Any, web: Web, **options: Any) -> Any:
    ours = importlib.import_module(f"netkat.{http.__name__}")
    options.setdefault("verify", web.nginx.trusting())
    return ours.AsyncTransport(netns=web.pair.host.name, **options)


def test_the_kernels_own_sockets_get_nowhere(web: Web) -> None:
    with pytest.raises(requests.ConnectTimeout):
        web.pair.host.call(lambda: requests.get(web.url("http", "/small"), timeout=0.5))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("scheme", "options", "spoken"),
    [
        ("http", {}, "HTTP/1.1"),
        ("https", {}, "HTTP/1.1"),
        ("https", {"http2": True}, "HTTP/2"),
    ],
    ids=["plain", "tls", "h2"],
)
def test_get(
    http: Any, web: Web, scheme: str, options: dict[str, Any], spoken: str, version: int
) -> None:
    with http.Client(transport=transport(http, web, **options)) as client:
        answer = client.get(web.url(scheme, "/big", version))
    assert (answer.status_code, answer.http_version) == (200, spoken)
    assert answer.content == BIG
    assert answer.headers["x-from"] == web.pair.host.address(version)


def test_a_certificate_is_verified(http: Any, web: Web) -> None:
    url = web.url("https", "/small")
    with http.Client(transport=transport(http, web)) as client:
        named = {"sni_hostname": web.nginx.name}
        assert client.get(url, extensions=named).text == "small\n"
    with (
        http.Client(transport=transport(http, web)) as client,
        pytest.raises(http.ConnectError, match=r"other\.test"),
    ):
        client.get(url, extensions={"sni_hostname": "other.test"})
    with (
        http.Client(transport=transport(http, web, verify=True)) as client,
        pytest.raises(http.ConnectError, match="certificate verify failed"),
    ):
        client.get(url)
    with http.Client(transport=transport(http, web, verify=False)) as client:
        assert client.get(url).status_code == 200


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_streams_both_ways(http: Any, web: Web, http2: bool) -> None:
    name = f"/put/{http.__name__}-{http2}"
    with http.Client(transport=transport(http, web, http2=http2)) as client:
        parts = (BIG[at : at + 70_000] for at in range(0, len(BIG), 70_000))
        assert client.put(web.url("https", name), content=parts).status_code == 201
        found = hashlib.sha256()
        with client.stream("GET", web.url("https", name)) as answer:
            for part in answer.iter_bytes(10_000):
                found.update(part)
    assert found.digest() == hashlib.sha256(BIG).digest()
    assert Path(f"{web.nginx.files}{name}").read_bytes() == BIG


def test_connections_are_pooled(http: Any, web: Web) -> None:
    url = web.url("http", "/small")
    with http.Client(transport=transport(http, web)) as client:
        assert len({client.get(url).headers["x-connection"] for _ in range(3)}) == 1
    limits = http.Limits(max_keepalive_connections=0)
    with http.Client(transport=transport(http, web, limits=limits)) as client:
        assert len({client.get(url).headers["x-connection"] for _ in range(3)}) == 3


def test_a_stack_of_ones_own_stays_open(http: Any, web: Web) -> None:
    ours = importlib.import_module(f"netkat.{http.__name__}")
    with netkat.Stack(netns=web.pair.host.name) as stack:
        for _ in range(2):
            with http.Client(transport=ours.Transport(stack=stack)) as client:
                assert client.get(web.url("http", "/small")).text == "small\n"
        with pytest.raises(errors.BadArgument, match="via"):
            ours.Transport(stack=stack, via="10.0.0.1")


FAULTS: list[tuple[int, str, type[Exception]]] = [
    (81, "ConnectError", errors.Refused),
    (82, "ReadTimeout", TimeoutError),
    (83, "ReadError", errors.ConnectionReset),
]


@pytest.fixture
def faulty(web: Web) -> Iterator[Web]:
    """Port 82 of the peer never answers a request, 83 resets; 81 is closed."""
    code = """
import socket, struct
linger = struct.pack("ii", 1, 0)
silent, reset = (socket.create_server(("", port)) for port in (82, 83))
print("ready", flush=True)
while True:
    conn, _ = reset.accept()
    conn.recv(1000)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    conn.close()
"""
    child = web.pair.peer.popen([sys.executable, "-c", code], stdout=-1)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    yield web
    child.kill()
    child.communicate()


@pytest.mark.parametrize(("port", "name", "cause"), FAULTS)
def test_faults(http: Any, faulty: Web, port: int, name: str, cause: type[Exception]) -> None:
    """The http's exception, and netkat's behind it."""
    with (
        http.Client(transport=transport(http, faulty), timeout=1) as client,
        pytest.raises(getattr(http, name)) as caught,
    ):
        client.get(f"http://{faulty.pair.peer.ipv4}:{port}/")
    assert isinstance(caught.value.__cause__, cause)


RUNTIMES: list[tuple[str, dict[str, Any]]] = [
    ("asyncio", {}),
    ("asyncio", {"use_uvloop": True}),
    ("trio", {}),
]


def run(runtime: tuple[str, dict[str, Any]], main: Callable[[], Awaitable[None]]) -> None:
    backend, options = runtime
    anyio.run(main, backend=backend, backend_options=options)


@pytest.fixture(params=RUNTIMES, ids=["asyncio", "uvloop", "trio"])
def runtime(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_awaited(http: Any, web: Web, runtime: Any, http2: bool) -> None:
    """Streams both ways, and twenty requests at once."""

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(BIG), 70_000):
            yield BIG[at : at + 70_000]

    async def main() -> None:
        async with http.AsyncClient(transport=awaited(http, web, http2=http2)) as client:
            sent = await client.put(web.url("https", "/put/x"), content=parts())
            assert sent.status_code in (201, 204)
            found = hashlib.sha256()
            async with client.stream("GET", web.url("https", "/put/x")) as answer:
                async for part in answer.aiter_bytes():
                    found.update(part)
            assert found.digest() == hashlib.sha256(BIG).digest()
            spoken: list[str] = []

            async def one() -> None:
                spoken.append((await client.get(web.url("https", "/small"))).http_version)

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(one)
            assert spoken == ["HTTP/2" if http2 else "HTTP/1.1"] * 20

    run(runtime, main)


@pytest.mark.parametrize(
    ("port", "name", "cause"), [FAULTS[0], *((*fault[:2], Exception) for fault in FAULTS[1:])]
)
def test_awaited_faults(
    http: Any, faulty: Web, runtime: Any, port: int, name: str, cause: type[Exception]
) -> None:
    async def main() -> None:
        async with http.AsyncClient(transport=awaited(http, faulty), timeout=1) as client:
            with pytest.raises(getattr(http, name)) as caught:
                await client.get(f"http://{faulty.pair.peer.ipv4}:{port}/")
            assert isinstance(caught.value.__cause__, cause)

    run(runtime, main)


def test_a_request_that_is_given_up(http: Any, faulty: Web, runtime: Any) -> None:
    """While it connects, and while it waits for the answer."""

    async def main() -> None:
        async with http.AsyncClient(transport=awaited(http, faulty), timeout=20) as client:
            for target in (f"{faulty.pair.peer.ipv4}:82", "10.99.0.200:80"):
                with anyio.move_on_after(0.3) as scope:
                    await client.get(f"http://{target}/")
                assert scope.cancelled_caught

    run(runtime, main)


@pytest.fixture
def session(web: Web) -> Iterator[requests.Session]:
    with requests.Session() as found:
        found.trust_env = False  # REQUESTS_CA_BUNDLE goes before what is said here
        found.verify = str(web.nginx.authority)
        netkat.requests.mount(found, netns=web.pair.host.name)
        yield found


def test_requests(web: Web, session: requests.Session) -> None:
    for scheme in ("http", "https"):
        answer = session.get(web.url(scheme, "/big"))
        assert answer.content == BIG
        assert answer.headers["x-from"] == web.pair.host.ipv4
    url = web.url("https", "/put/requests")
    parts = (BIG[at : at + 70_000] for at in range(0, len(BIG), 70_000))
    assert session.put(url, data=parts).status_code == 201
    with session.get(url, stream=True) as answer:
        assert b"".join(answer.iter_content(10_000)) == BIG
    numbers = {session.get(web.url("http", "/small")).headers["x-connection"] for _ in range(3)}
    assert len(numbers) == 1


def test_requests_verifies(web: Web, session: requests.Session) -> None:
    session.verify = True
    with pytest.raises(requests.exceptions.SSLError, match="certificate verify failed"):
        session.get(web.url("https", "/small"))


def test_requests_by_a_proxy(web: Web, session: requests.Session) -> None:
    """The way to the proxy is netkat's; SOCKS is refused rather than gone by the kernel."""
    proxy = web.pair.peer.popen(["ncat", "-lk", "--proxy-type", "http", "8888"])
    web.pair.peer.wait_served(8888)
    session.proxies = dict.fromkeys(("http", "https"), f"http://{web.pair.peer.ipv4}:8888")
    answer = session.get(web.url("https", "/big"))
    assert answer.content == BIG
    assert answer.headers["x-from"] == web.pair.peer.ipv4  # who asks nginx is the proxy
    proxy.kill()
    proxy.communicate()
    session.proxies = {"http": "socks5://127.0.0.1:1080"}
    with pytest.raises(requests.exceptions.InvalidSchema, match="HTTP proxies only"):
        session.get(web.url("http", "/small"))


REQUESTS_FAULTS: list[tuple[int, type[Exception], type[Exception]]] = [
    (81, requests.ConnectionError, errors.Refused),
    (82, requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError),
    (83, requests.ConnectionError, ConnectionResetError),
]


@pytest.mark.parametrize(("port", "kind", "cause"), REQUESTS_FAULTS)
def test_requests_faults(
    faulty: Web, session: requests.Session, port: int, kind: type, cause: type
) -> None:
    with pytest.raises(kind) as caught:
        session.get(f"http://{faulty.pair.peer.ipv4}:{port}/", timeout=1)
    assert cause.__name__ in repr(netkat.requests.fault_behind(caught.value) or caught.value)


def test_a_name_that_is_not_found(http: Any, web: Web, session: requests.Session) -> None:
    with (
        http.Client(transport=transport(http, web)) as client,
        pytest.raises(http.ConnectError) as caught,
    ):
        client.get("http://nowhere.invalid/")
    assert isinstance(caught.value.__cause__, errors.NameNotFound)
    with pytest.raises(requests.ConnectionError) as other:
        session.get("http://nowhere.invalid/")
    assert isinstance(netkat.requests.fault_behind(other.value), errors.NameNotFound)


def test_nothing_went_through_the_hosts_rules(http: Any, web: Web) -> None:
    with http.Client(transport=transport(http, web)) as client:
        counted = functools.partial(web.pair.host.run, ["iptables-nft", "-w", "-vxnL", "OUTPUT"])
        before = counted().stdout
        assert "policy DROP" in before
        assert client.get(web.url("http", "/big")).content == BIG
        assert counted().stdout == before
