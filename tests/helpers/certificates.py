"""Certificates for tests: one issuer, and what it or somebody else has issued."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme

NAME = "service.test"
ADDRESSES = ("10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2", "127.0.0.1")


class Certificates:
    """PEM files below a folder. ``issuer`` is to be trusted; each other file has its key within."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._issuer = trustme.CA()
        self.issuer = str(folder / "issuer.pem")
        self._issuer.cert_pem.write_to_path(self.issuer)
        past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
        self.good = self._write("good", self._issuer.issue_cert(NAME, *ADDRESSES))
        self.other_name = self._write("other-name", self._issuer.issue_cert("other.test"))
        self.expired = self._write(
            "expired",
            self._issuer.issue_cert(
                NAME, *ADDRESSES, not_before=past - datetime.timedelta(days=1), not_after=past
            ),
        )
        self.foreign = self._write("foreign", trustme.CA().issue_cert(NAME, *ADDRESSES))
        alone = trustme.CA()
        self.self_signed = str(folder / "self-signed.pem")
        alone.private_key_pem.write_to_path(self.self_signed)
        alone.cert_pem.write_to_path(self.self_signed, append=True)
        self.client = self._write("client", self._issuer.issue_cert("client@service.test"))

    def _write(self, name: str, issued: trustme.LeafCert) -> str:
        path = self._folder / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return str(path)
