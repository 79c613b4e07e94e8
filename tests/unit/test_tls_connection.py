"""TlsConnection against Python's own ssl on a kernel socket: streams, ends, cuts, timeouts."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netkat.commands.relay.relay_options import RelayOptions
from netkat.commands.relay.stop_rules import StopReason
from netkat.commands.tls_settings import TlsSettings
from netkat.conn.tls import TlsConnection
from netkat.engine.bypass import Cancelled
from netkat.errors import (
    BadArgument,
    CertificateExpired,
    CertificateMismatch,
    CertificateRejected,
    CertificateUntrusted,
    ConnectionReset,
    NotTls,
    TimedOut,
    TlsFailed,
    TlsMismatch,
    TlsRefused,
    TlsTruncated,
)
from tests.helpers.certificates import NAME, Certificates
from tests.helpers.kernel_conn import KernelConn, reset
from tests.helpers.peers import pattern
from tests.helpers.relaying import Run

VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"]
)
SOON = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.good)
    return context


@contextmanager
def spoken(
    context: ssl.SSLContext,
    talk: Callable[[ssl.SSLSocket], object],
    tls: TlsSettings | None = None,
    *,
    small_buffers: bool = False,
) -> Iterator[TlsConnection]:
    """A connection whose peer, an ssl.SSLSocket, does what ``talk`` says in a thread."""
    kernel = KernelConn(small_buffers=small_buffers)
    kernel.peer.settimeout(SOON)

    def serve() -> None:
        with suppress(OSError), context.wrap_socket(kernel.peer, server_side=True) as peer:
            talk(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    conn = None
    try:
        conn = (tls or TlsSettings()).wrap(kernel.stream, NAME, timeout=SOON)
        conn.settimeout(SOON)
        yield conn
    finally:
        (conn or kernel.conn).close()
        thread.join(SOON)
        kernel.peer.close()
        assert not thread.is_alive()


def everything(conn: TlsConnection | ssl.SSLSocket) -> bytes:
    return b"".join(iter(lambda: conn.recv(1 << 16), b""))


@VERSIONS
def test_half_close_both_ways(certificates: Certificates, version: ssl.TLSVersion) -> None:
    """close_notify is the end of one direction: what was under way still comes."""
    heard: list[bytes] = []

    def talk(peer: ssl.SSLSocket) -> None:
        peer.sendall(b"before ")
        heard.append(everything(peer))
        peer.sendall(b"after")
        peer.unwrap()

    context = server_context(certificates)
    context.maximum_version = version
    with spoken(context, talk) as conn:
        conn.sendall(b"question")
        conn.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError):
            conn.send(b"more")
        assert everything(conn) == b"before after"
        assert conn.recv(1) == b""
    assert heard == [b"question"]


@pytest.mark.parametrize("missing", [0, 5])
def test_a_peer_that_has_gone_with_all_of_it_owes_close_notify_no_answer(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    """It answers with a RST, which a FIN may come behind; what it does not have still counts."""
    with spoken(server_context(certificates), everything) as conn:
        wire = conn._conn
        after = wire.info()._replace(unacked=24 + missing)

        def shutdown(how: int) -> None:
            raise OSError(errno.ENOTCONN, "not connected")

        monkeypatch.setattr(wire, "info", lambda: after)
        monkeypatch.setattr(wire, "shutdown", shutdown)
        if missing:
            with pytest.raises(OSError, match="not connected"):
                conn.shutdown(socket.SHUT_WR)
        else:
            conn.shutdown(socket.SHUT_WR)
        assert conn.info().unacked == missing
        monkeypatch.undo()


def test_a_relay_over_tls_by_hash(certificates: Certificates) -> None:
    """Both directions at once, through small kernel buffers."""
    up, down = pattern(3_000_000, "up"), pattern(3_000_000, "down")
    heard: list[bytes] = []

    def talk(peer: ssl.SSLSocket) -> None:
        # One thread: SSLSocket is not made for two.
        peer.setblocking(False)
        left, got = memoryview(down), bytearray()
        ended = False
        while left or not ended:
            for busy in (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                with suppress(busy):
                    if left:
                        left = left[peer.send(left) :]
            with suppress(ssl.SSLWantReadError):
                data = b"" if ended else peer.recv(1 << 16)
                ended = ended or not data
                got += data
        heard.append(bytes(got))
        peer.setblocking(True)
        peer.unwrap()

    with spoken(server_context(certificates), talk, small_buffers=True) as conn:
        run = Run(conn)  # type: ignore[arg-type]
        received = bytearray()

        def collect() -> None:
            while len(received) < len(down):
                received.extend(os.read(run.output, 1 << 16))

        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        run.type(b"")
        view = memoryview(up)
        assert run.input is not None
        while view:
            view = view[os.write(run.input, view) :]
        run.end_input()
        reader.join(60)
        assert run.result(60) is StopReason.CLOSED
    assert hashlib.sha256(received).digest() == hashlib.sha256(down).digest()
    assert hashlib.sha256(heard[0]).digest() == hashlib.sha256(up).digest()


def test_an_end_without_close_notify_is_a_fault(certificates: Certificates) -> None:
    def cut(peer: ssl.SSLSocket) -> None:
        peer.sendall(b"half of it")
        socket.socket.shutdown(peer, socket.SHUT_WR)
        peer.recv(1)

    with spoken(server_context(certificates), cut) as conn:
        assert conn.recv(100) == b"half of it"
        for _ in range(2):
            with pytest.raises(TlsTruncated, match="without close_notify"):
                conn.recv(100)


def test_after_an_end_without_close_notify_the_upload_goes_on(certificates: Certificates) -> None:
    """As with ncat, which sends a bare FIN at the end of its input, and reads on."""
    heard: list[bytes] = []

    def talk(peer: ssl.SSLSocket) -> None:
        peer.sendall(b"all that I say")
        socket.socket.shutdown(peer, socket.SHUT_WR)
        heard.append(everything(peer))

    with spoken(server_context(certificates), talk) as conn:
        run = Run(conn)  # type: ignore[arg-type]
        assert os.read(run.output, 100) == b"all that I say"
        for part in (b"and this is ", b"my answer"):
            run.type(part)
        run.end_input()
        with pytest.raises(TlsTruncated):
            run.result(SOON)
    assert heard == [b"and this is my answer"]


def test_who_only_sends_does_not_miss_close_notify(certificates: Certificates) -> None:
    """ncat as a sink ends with a bare FIN."""
    heard: list[bytes] = []

    def talk(peer: ssl.SSLSocket) -> None:
        heard.append(everything(peer))
        socket.socket.shutdown(peer, socket.SHUT_WR)

    with spoken(server_context(certificates), talk) as conn:
        run = Run(conn, options=RelayOptions(send_only=True, linger=SOON))  # type: ignore[arg-type]
        run.type(b"all of it")
        run.end_input()
        assert run.result(2 * SOON) is StopReason.CLOSED
    assert heard == [b"all of it"]


def test_a_reset_stays_a_reset(certificates: Certificates) -> None:
    def rst(peer: ssl.SSLSocket) -> None:
        peer.recv(1)
        reset(peer)

    with spoken(server_context(certificates), rst) as conn:
        conn.sendall(b"!")
        with pytest.raises(ConnectionReset):
            conn.recv(100)


def test_timeouts_are_the_connections(certificates: Certificates) -> None:
    with spoken(server_context(certificates), everything) as conn:
        conn.settimeout(0.05)
        with pytest.raises(TimedOut):
            conn.recv(1)
        conn.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            conn.recv(1)


def test_what_is_read_early_is_not_lost(certificates: Certificates) -> None:
    """shutdown() has to look for the peer's close_notify, and finds data before it."""
    sent = threading.Event()

    def talk(peer: ssl.SSLSocket) -> None:
        peer.sendall(b"one ")
        peer.sendall(b"two")
        sent.set()
        everything(peer)
        peer.unwrap()

    with spoken(server_context(certificates), talk) as conn:
        assert sent.wait(SOON)
        assert conn.recv(1) == b"o"
        conn.shutdown(socket.SHUT_WR)
        assert everything(conn) == b"ne two"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotTls, r"does not speak TLS: it said b'SSH-2.0-OpenSSH"),
        (b"HTTP/1.1 400 Bad Request\r\n", NotTls, r"does not speak TLS: it said b'HTTP/1.1 400"),
        (b"no\n", NotTls, r"does not speak TLS: it said b'no"),
        (b"\x16\x07nonsense", NotTls, r"does not speak TLS"),
        (b"", TlsFailed, r"closed the connection in place of a TLS handshake"),
        (b"\x16\x03\x03\x00\x50\x02", TlsFailed, r"closed the connection during the TLS"),
        (None, TlsFailed, r"did not answer the TLS handshake in 0\.2 s"),
        (b"\x15\x03\x03\x00\x02\x02\x28", TlsMismatch, r"no common cipher or other parameter"),
        (b"\x15\x03\x03\x00\x02\x02\x31", TlsRefused, r"refused with the alert access_denied"),
    ],
)
def test_peers_that_are_no_servers(answer: bytes | None, kind: type[TlsFailed], words: str) -> None:
    kernel = KernelConn()
    with kernel.peer as peer:
        if answer is not None:
            peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR)
        with pytest.raises(kind, match=words):
            TlsSettings().wrap(kernel.stream, NAME, timeout=0.2 if answer is None else SOON)


@pytest.mark.parametrize(
    ("shown", "kind", "code"),
    [
        ("other_name", CertificateMismatch, 62),
        ("expired", CertificateExpired, 10),
        ("foreign", CertificateUntrusted, 20),
        ("self_signed", CertificateUntrusted, 18),
    ],
)
def test_certificates_that_are_not_accepted(
    certificates: Certificates, shown: str, kind: type[CertificateRejected], code: int
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(getattr(certificates, shown))
    tls = TlsSettings(verify=True, trust=certificates.issuer)
    with pytest.raises(kind) as caught, spoken(context, everything, tls):
        pass
    assert caught.value.code == code
    assert "--ssl-" in str(caught.value.hint) or "date" in str(caught.value.hint)


def test_a_reset_in_the_handshake_says_when() -> None:
    kernel = KernelConn()
    reset(kernel.peer)
    with pytest.raises(ConnectionReset, match="during the TLS handshake"):
        TlsSettings().wrap(kernel.stream, NAME, timeout=SOON)


def test_a_handshake_can_be_cancelled() -> None:
    kernel = KernelConn()
    reader, writer = os.pipe()
    os.write(writer, b"!")
    with kernel.peer, pytest.raises(Cancelled):
        TlsSettings().wrap(kernel.stream, NAME, timeout=SOON, cancel_fd=reader)
    os.close(reader)
    os.close(writer)


def test_a_server_asks_for_certificates(certificates: Certificates) -> None:
    """Of clients, with --ssl-verify: one that is known, none, and one of somebody else."""
    server = TlsSettings(
        server_side=True, verify=True, certificate=certificates.good, trust=certificates.issuer
    )
    shown = {certificates.client: None, None: CertificateRejected, certificates.foreign: TlsFailed}
    for path, fault in shown.items():
        kernel = KernelConn()
        client = ssl.create_default_context(cafile=certificates.issuer)
        if path is not None:
            client.load_cert_chain(path)

        def talk(context: ssl.SSLContext = client, sock: socket.socket = kernel.peer) -> None:
            with suppress(OSError), context.wrap_socket(sock, server_hostname=NAME) as tls:
                tls.recv(1)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        if fault is None:
            tls = server.wrap(kernel.stream, "", timeout=SOON)
            assert "certificate verified" in server.describe(tls)[-1]
            tls.close()
        else:
            with pytest.raises(fault):
                server.wrap(kernel.stream, "", timeout=SOON)
        thread.join(SOON)
        kernel.peer.close()


def test_start_tls_for_programs(certificates: Certificates) -> None:
    kernel = KernelConn()
    context = server_context(certificates)

    def talk() -> None:
        with context.wrap_socket(kernel.peer, server_side=True) as peer:
            peer.sendall(peer.recv(100))
            peer.unwrap()

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    trusting = ssl.create_default_context(cafile=certificates.issuer)
    with kernel.stream.start_tls(trusting, server_hostname=NAME) as tls:
        tls.sendall(b"hello")
        assert tls.recv(100) == b"hello"
        assert tls.recv(100) == b""
        assert ("DNS", NAME) in tls.getpeercert()["subjectAltName"]
    thread.join(SOON)
    kernel.peer.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"certificate": "/nowhere.pem"}, "--ssl-cert: /nowhere.pem: No such file"),
        ({"trust": "/dev/null"}, "--ssl-trustfile: /dev/null: "),
        ({"ciphers": "NONE-OF-THEM"}, "--ssl-ciphers: no valid cipher"),
    ],
)
def test_files_that_are_of_no_use(given: dict[str, str], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        TlsSettings(**given)  # type: ignore[arg-type]


def test_a_key_of_another_certificate(certificates: Certificates, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="key values mismatch"):
        TlsSettings(certificate=certificates.good, key=certificates.client)
