"""A real TLS peer."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.netns import Host


@contextmanager
def openssl_server(host: Host, folder: Path, port: int = 4433) -> Iterator[ssl.SSLContext]:
    """openssl s_server, which answers each line turned round, and the context that trusts it.

    Its certificate is for peer.test and the host's IPv4 address.
    """
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = f"/CN=peer -addext subjectAltName=DNS:peer.test,IP:{host.ipv4}"
    make = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj"
    argv = [*f"{make} {subject}".split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    server = host.popen(
        ["openssl", "s_server", "-accept", str(port), "-cert", certificate, "-key", key, "-rev"],
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    while b"ACCEPT" not in (line := server.stdout.readline()):
        assert line, "openssl s_server ended"
    try:
        yield ssl.create_default_context(cafile=str(certificate))
    finally:
        server.kill()
        server.communicate()
