"""--ssl: the TLS context, the handshake of each connection, and its result."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from netkat.conn.tls import HANDSHAKE_TIMEOUT, TlsConnection
from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.conn import TcpConnection

_ATTRIBUTES = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
}
"""As RFC 4514 writes them."""


class TlsSettings:
    """The TLS options. The constructor reads the files.

    Errors: BadArgument.
    """

    def __init__(
        self,
        *,
        server_side: bool = False,
        verify: bool = False,
        server_name: str | None = None,
        alpn: tuple[str, ...] = (),
        certificate: str | None = None,
        key: str | None = None,
        trust: str | None = None,
        ciphers: str | None = None,
    ) -> None:
        self._server_side, self._verify, self._alpn = server_side, verify, alpn
        self._server_name = server_name
        kind = ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT
        self._context = context = ssl.SSLContext(kind)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.check_hostname = verify and not server_side
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if trust is not None:
            with _read("--ssl-trustfile", trust):
                context.load_verify_locations(trust)
        elif verify:
            context.load_default_certs()
        if certificate is not None:
            with _read("--ssl-cert", certificate, key):
                context.load_cert_chain(certificate, key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if ciphers is not None:
            try:
                context.set_ciphers(ciphers)
            except ssl.SSLError:
                raise BadArgument(
                    f"--ssl-ciphers: no valid cipher in {ciphers!r}",
                    hint="list them: openssl ciphers",
                ) from None

    def wrap(
        self,
        conn: TcpConnection,
        host: str,
        *,
        timeout: float | None = None,
        cancel_fd: int | None = None,
    ) -> TlsConnection:
        """Start TLS on the connection to ``host`` and return the TLS connection.

        ``timeout`` is in seconds (None: 10). Errors: TlsFailed and its kinds, Cancelled,
        and the connection's own; it is aborted then.
        """
        name = (
            None if self._server_side else self._server_name or host.partition("%")[0].rstrip(".")
        )
        try:
            tls = TlsConnection(
                conn, self._context, server_hostname=name, server_side=self._server_side
            )
            tls.handshake(HANDSHAKE_TIMEOUT if timeout is None else timeout, cancel_fd)
        except (ValueError, UnicodeError) as error:
            conn.abort()
            raise BadArgument(f"invalid TLS server name {name!r}: {error}") from None
        except BaseException:
            conn.abort()
            raise
        return tls

    def describe(self, tls: TlsConnection) -> list[str]:
        """Return the TLS parameters and the certificate for -v."""
        cipher = tls.cipher()
        agreed = [(tls.version() or "?").replace("TLSv", "TLS "), cipher[0] if cipher else "?"]
        if self._alpn:
            agreed.append(f"ALPN {tls.selected_alpn_protocol() or '(none agreed)'}")
        return [", ".join(agreed), *self._certificate(tls)]

    def warning(self, tls: TlsConnection) -> str | None:
        """Return a warning if the peer selected none of the offered ALPN protocols."""
        if self._alpn and not self._server_side and tls.selected_alpn_protocol() is None:
            return f"peer selected no ALPN protocol (offered: {', '.join(self._alpn)})"
        return None

    def _certificate(self, tls: TlsConnection) -> list[str]:
        raw = tls.getpeercert(True)
        if raw is None:
            return [] if not self._server_side else ["client sent no certificate"]
        facts = self._facts(tls)
        words = [f"certificate subject {_name(facts.get('subject')) or '(none)'}"]
        names = [value for _, value in facts.get("subjectAltName", ())]
        if names:
            words.append(f"names {' '.join(names)}")
        words.append(f"issuer {_name(facts.get('issuer')) or '(none)'}")
        if "notAfter" in facts:
            words.append(f"valid until {facts['notAfter']}")
        lines = [
            ", ".join(words),
            f"SHA-256 fingerprint: {sha256(raw).digest().hex(':').upper()}",
        ]
        if self._verify:
            return [*lines, "certificate verified"]
        return [*lines, "certificate NOT verified (use --ssl-verify)"]

    def _facts(self, tls: TlsConnection) -> dict[str, Any]:
        """The certificate's fields. Python reads them only in a context that verifies."""
        before = self._context.verify_mode
        if self._server_side or before != ssl.CERT_NONE:
            return dict(tls.getpeercert() or {})
        # After the handshake, and the next one is not begun meanwhile: nothing is verified by it.
        self._context.verify_mode = ssl.CERT_OPTIONAL
        try:
            return dict(tls.getpeercert() or {})
        finally:
            self._context.verify_mode = before


def _name(parts: Any) -> str:
    """A distinguished name as RFC 4514 writes it."""
    pairs = [pair for part in parts or () for pair in part]
    return ",".join(f"{_ATTRIBUTES.get(kind, kind)}={value}" for kind, value in reversed(pairs))


@contextlib.contextmanager
def _read(option: str, path: str, key: str | None = None) -> Iterator[None]:
    """A file of certificates or keys that cannot be used is a mistake of the command line."""
    try:
        yield
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        files = path if key is None else f"{path} and {key}"
        raise BadArgument(
            f"{option}: {files}: {reason}",
            hint="use PEM files; the key may be in the certificate file",
        ) from None
    except OSError as error:
        where = path if key is None else f"{path} or {key}"
        raise BadArgument(f"{option}: {where}: {error.strerror or error}") from None
