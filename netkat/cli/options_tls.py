"""--ssl and its companions."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.commands.tls_settings import TlsSettings

_PANEL = "TLS"


class TlsOptionGroup(NamedTuple):
    """As they were written; tls() reads them."""

    ssl: Annotated[
        bool,
        typer.Option("--ssl", help="TLS over the connection.", rich_help_panel=_PANEL),
    ] = False
    ssl_verify: Annotated[
        bool,
        typer.Option(
            "--ssl-verify",
            help="Verify the peer's certificate and, of a server, its name; it implies --ssl.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    ssl_servername: Annotated[
        str | None,
        typer.Option(
            "--ssl-servername",
            metavar="NAME",
            help="Ask for this name (SNI), and verify it, in place of HOST.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_alpn: Annotated[
        str | None,
        typer.Option(
            "--ssl-alpn",
            metavar="PROTOCOL,…",
            help="Protocols to agree on, the best first: h2,http/1.1.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_cert: Annotated[
        str | None,
        typer.Option(
            "--ssl-cert",
            metavar="FILE",
            help="Our certificate with its chain, PEM; a listener needs one.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_key: Annotated[
        str | None,
        typer.Option(
            "--ssl-key",
            metavar="FILE",
            help="Its key, PEM, unless it stands with the certificate.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_trustfile: Annotated[
        str | None,
        typer.Option(
            "--ssl-trustfile",
            metavar="FILE",
            help="With --ssl-verify: issuers to trust, in place of the system's.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ssl_ciphers: Annotated[
        str | None,
        typer.Option(
            "--ssl-ciphers",
            metavar="LIST",
            help="Ciphers of TLS 1.2, as openssl ciphers has them.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def tls(self, *, udp: bool, server_side: bool = False) -> "TlsSettings | None":
        """What was asked for, if anything. Errors: BadArgument."""
        if not (self.ssl or self.ssl_verify):
            self._refuse_companions()
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

    def _refuse_companions(self) -> None:
        for name in ("servername", "alpn", "cert", "key", "trustfile", "ciphers"):
            if getattr(self, f"ssl_{name}") is not None:
                raise BadArgument(f"--ssl-{name} is about TLS: --ssl is missing")

    def _check(self, *, udp: bool, server_side: bool) -> None:
        if udp:
            raise BadArgument("--ssl does not go with -u: TLS is spoken over TCP")
        if self.ssl_key is not None and self.ssl_cert is None:
            raise BadArgument("--ssl-key is of a certificate: --ssl-cert is missing")
        if self.ssl_trustfile is not None and not self.ssl_verify:
            raise BadArgument("--ssl-trustfile does nothing without --ssl-verify")
        if server_side and self.ssl_cert is None:
            raise BadArgument(
                "a listener with --ssl needs --ssl-cert and --ssl-key",
                hint="openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -days 30"
                " -out cert.pem -keyout key.pem makes a pair",
            )
        if server_side and self.ssl_servername is not None:
            raise BadArgument("--ssl-servername is a client's")
        if server_side and self.ssl_verify and self.ssl_trustfile is None:
            raise BadArgument(
                "a listener with --ssl-verify needs --ssl-trustfile",
                hint="the issuers whose clients may come in",
            )


def _protocols(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    for word in found:
        if not (word.isascii() and 0 < len(word) < 256):
            raise BadArgument(f"--ssl-alpn: {word!r} is no protocol", hint="such as h2,http/1.1")
    return found
