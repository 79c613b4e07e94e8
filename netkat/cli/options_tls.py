"""--ssl and the options that require it."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.commands.tls_settings import TlsSettings

_PANEL = "TLS"


class TlsOptionGroup(NamedTuple):
    """The options as strings; tls() parses them."""

    ssl: Annotated[
        bool,
        typer.Option("--ssl", help="Use TLS.", rich_help_panel=_PANEL),
    ] = False
    ssl_verify: Annotated[
        bool,
        typer.Option(
            "--ssl-verify",
            help="Verify the peer's certificate (and a server's host name). Implies --ssl.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    ssl_servername: Annotated[
        str | None,
        typer.Option(
            "--ssl-servername",
            metavar="NAME",
            help="Server name for SNI and verification (default: HOST).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_alpn: Annotated[
        str | None,
        typer.Option(
            "--ssl-alpn",
            metavar="PROTOCOL,…",
            help="ALPN protocols in order of preference, e.g. h2,http/1.1.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_cert: Annotated[
        str | None,
        typer.Option(
            "--ssl-cert",
            metavar="FILE",
            help="Certificate chain (PEM); required to listen.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_key: Annotated[
        str | None,
        typer.Option(
            "--ssl-key",
            metavar="FILE",
            help="Private key (PEM), if not in the certificate file.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_trustfile: Annotated[
        str | None,
        typer.Option(
            "--ssl-trustfile",
            metavar="FILE",
            help="CA certificates (PEM) to trust instead of the system store.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_ciphers: Annotated[
        str | None,
        typer.Option(
            "--ssl-ciphers",
            metavar="LIST",
            help="TLS 1.2 cipher list (OpenSSL format).",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def tls(self, *, udp: bool, server_side: bool = False) -> "TlsSettings | None":
        """Return the TLS options, or None if TLS is off. Errors: BadArgument."""
        if not (self.ssl or self.ssl_verify):
            self._refuse_without_ssl()
            return None
        self._check(udp=udp, server_side=server_side)
        from netkat.commands.tls_settings import TlsSettings

        return TlsSettings(
            server_side=server_side,
            verify=self.ssl_verify,
            server_name=self.ssl_servername,
            alpn=() if self.ssl_alpn is None else _protocols(self.ssl_alpn),
            certificate=self.ssl_cert,
            key=self.ssl_key,
            trust=self.ssl_trustfile,
            ciphers=self.ssl_ciphers,
        )

    def _refuse_without_ssl(self) -> None:
        for name in ("servername", "alpn", "cert", "key", "trustfile", "ciphers"):
            if getattr(self, f"ssl_{name}") is not None:
                raise BadArgument(f"--ssl-{name} requires --ssl")

    def _check(self, *, udp: bool, server_side: bool) -> None:
        if udp:
            raise BadArgument("--ssl cannot be used with -u: TLS runs over TCP")
        if self.ssl_key is not None and self.ssl_cert is None:
            raise BadArgument("--ssl-key requires --ssl-cert")
        if self.ssl_trustfile is not None and not self.ssl_verify:
            raise BadArgument("--ssl-trustfile requires --ssl-verify")
        if server_side and self.ssl_cert is None:
            raise BadArgument(
                "--ssl with -l requires --ssl-cert and --ssl-key",
                hint="create a pair: openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test"
                " -days 30 -out cert.pem -keyout key.pem",
            )
        if server_side and self.ssl_servername is not None:
            raise BadArgument("--ssl-servername cannot be used with -l")
        if server_side and self.ssl_verify and self.ssl_trustfile is None:
            raise BadArgument(
                "--ssl-verify with -l requires --ssl-trustfile",
                hint="pass the CA certificates used to verify clients",
            )


def _protocols(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    for word in found:
        if not (word.isascii() and 0 < len(word) < 256):
            raise BadArgument(f"--ssl-alpn: invalid protocol {word!r}", hint="write h2,http/1.1")
    return found
