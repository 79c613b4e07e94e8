"""A real web server: nginx with TLS and HTTP/2."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.helpers.netns import Host

CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    ssl_certificate {folder}/chain.pem;
    ssl_certificate_key {folder}/key.pem;
    server {{
        listen 80;
        listen [::]:80;
        listen 443 ssl http2;
        listen [::]:443 ssl http2;
        root {folder}/files;
        add_header X-Connection $connection;
        add_header X-From $remote_addr;
        location /put {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """``files`` is what it serves; below /put one may PUT. Its certificate: name and addresses."""

    files: Path
    authority: Path
    name: str = "peer.test"

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts it and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


@contextmanager
def nginx(host: Host, folder: Path) -> Iterator[Nginx]:
    """nginx on ports 80 and 443 of a namespace."""
    authority = trustme.CA()
    certificate = authority.issue_cert(Nginx.name, host.ipv4, host.ipv6)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "files/put").mkdir(parents=True)
    # What nginx drops its rights to writes below here.
    for place in [folder, *folder.rglob("*")]:
        place.chmod(0o755 if place.is_file() else 0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o011)
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    server = host.popen(["nginx", "-c", configuration])
    try:
        host.wait_served(443, sockets=2)
        yield Nginx(folder / "files", folder / "authority.pem")
    finally:
        server.kill()
        server.communicate()
