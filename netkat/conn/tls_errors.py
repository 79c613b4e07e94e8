"""Convert OpenSSL's errors to netkat's."""

from __future__ import annotations

import re
import ssl

from netkat.errors import (
    CertificateExpired,
    CertificateMismatch,
    CertificateRejected,
    CertificateUntrusted,
    NotTls,
    TlsFailed,
    TlsMismatch,
    TlsRefused,
)

SHOWN = 24
"""Most bytes to show of what a peer sent in place of TLS."""

_RECORD_TYPES = range(20, 25)
"""change_cipher_spec, alert, handshake, application_data, heartbeat (RFC 8446, 5.1; RFC 6520)."""

# X509_V_ERR_* (openssl/x509_vfy.h).
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER, _NO_ISSUER_AT_ALL = 18, 19, 20, 21
_NAMES = (62, 64)  # HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH

_MISMATCHES = {
    "NO_SHARED_CIPHER": ("cipher", "no common cipher"),
    "NO_CIPHERS_AVAILABLE": ("cipher", "no common cipher"),
    "UNSUPPORTED_PROTOCOL": ("version", "no common TLS version"),
    "NO_PROTOCOLS_AVAILABLE": ("version", "no common TLS version"),
    "VERSION_TOO_LOW": ("version", "no common TLS version"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("version", "no common TLS version, says the peer"),
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": ("cipher", "no common cipher, says the peer"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "cipher",
        "no common cipher or other parameter, says the peer (handshake_failure)",
    ),
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": ("ALPN", "no common ALPN protocol, says the peer"),
    "NO_APPLICATION_PROTOCOL": ("ALPN", "no common ALPN protocol"),
}


def handshake(error: ssl.SSLError, first: bytes) -> TlsFailed:
    """Why a handshake failed; ``first`` is how the peer's side of it began."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if first and (first[0] not in _RECORD_TYPES or first[1:2] not in (b"", b"\x03")):
        # OpenSSL's words for it depend on what the bytes happen to be.
        return NotTls(f"the peer does not speak TLS: it said {first[:SHOWN]!r}", said=first[:SHOWN])
    if isinstance(error, ssl.SSLEOFError):
        if not first:
            return TlsFailed("the peer closed the connection in place of a TLS handshake")
        return TlsFailed("the peer closed the connection during the TLS handshake")
    return _named(error)


def stream(error: ssl.SSLError) -> TlsFailed:
    """Return the error of a connection after its handshake."""
    return _named(error)


def silent(seconds: float | None, began: bool) -> TlsFailed:
    """A handshake that got no answer, or no end."""
    what = "did not finish the TLS handshake" if began else "did not answer the TLS handshake"
    return TlsFailed(f"the peer {what} in {seconds:g} s")


def _named(error: ssl.SSLError) -> TlsFailed:
    reason = _reason(error)
    if reason in _MISMATCHES:
        what, words = _MISMATCHES[reason]
        return TlsMismatch(f"TLS: {words}", what=what)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return CertificateRejected("TLS: the peer sent no certificate")
    alert = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)", reason)
    if alert is not None:
        name = alert[1].lower()
        return TlsRefused(f"TLS: the peer refused with the alert {name}", alert=name)
    return TlsFailed(f"TLS: {reason.replace('_', ' ').lower()}")


def _certificate(error: ssl.SSLCertVerificationError) -> CertificateRejected:
    code, words = error.verify_code, error.verify_message.rstrip(".")
    if code in (_EXPIRED, _NOT_YET_VALID):
        when = "has expired" if code == _EXPIRED else "is not valid yet"
        return CertificateExpired(f"the peer's certificate {when}", code=code)
    if code in _NAMES:
        return CertificateMismatch(
            f"the peer's certificate is for another name: {words}", code=code
        )
    if code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN):
        where = "is self-signed" if code == _SELF_SIGNED else "ends in a self-signed one"
        return CertificateUntrusted(f"the peer's certificate {where}, not a trusted one", code=code)
    if code in (_NO_ISSUER, _NO_ISSUER_AT_ALL):
        return CertificateUntrusted("the peer's certificate has an unknown issuer", code=code)
    return CertificateRejected(f"the peer's certificate is not accepted: {words}", code=code)


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name for it. Python leaves out what its own table lacks, then its text has it."""
    if error.reason:
        return error.reason
    text = re.sub(r"^\[\w+\] | \(_ssl\.c:\d+\)$", "", str(error.args[-1]))
    return text.upper().replace(" ", "_")
