"""-x and the options that require it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.cli import parse
from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.commands.connect.proxy_route import Proxy, ProxyKind, ProxySettings

VARIABLE = "NETKAT_PROXY_AUTH"
_PANEL = "Proxy"
_KINDS = {
    "4": "SOCKS4",
    "socks4": "SOCKS4",
    "4a": "SOCKS4A",
    "socks4a": "SOCKS4A",
    "5": "SOCKS5",
    "socks5": "SOCKS5",
    "connect": "HTTP",
    "http": "HTTP",
}
_RESOLVERS = ("remote", "local", "both", "none")


def _completed(*words: str) -> Callable[[str], list[str]]:
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


class ProxyOptionGroup(NamedTuple):
    """The options as strings; settings() parses them."""

    proxy: Annotated[
        str | None,
        typer.Option(
            "-x",
            "--proxy",
            metavar="ADDR[:PORT]",
            help="Connect through a proxy (default port 1080; 3128 with -X connect).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    proxy_type: Annotated[
        str | None,
        typer.Option(
            "-X",
            "--proxy-type",
            metavar="4|4a|5|connect",
            help="Proxy protocol: SOCKS4, SOCKS4a, SOCKS5 (default) or HTTP CONNECT.",
            autocompletion=_completed("4", "4a", "5", "connect"),
            rich_help_panel=_PANEL,
        ),
    ] = None
    proxy_auth: Annotated[
        str | None,
        typer.Option(
            "-P",
            "--proxy-auth",
            metavar="USER[:PASSWORD]",
            help="Proxy credentials; prompts if PASSWORD is omitted."
            f" {VARIABLE} does the same without exposing them in ps.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    proxy_dns: Annotated[
        str | None,
        typer.Option(
            "--proxy-dns",
            metavar="|".join(_RESOLVERS),
            help="Where to resolve HOST: remote (default), local (default with -X 4),"
            " both (local, then remote), none.",
            autocompletion=_completed(*_RESOLVERS),
            rich_help_panel=_PANEL,
        ),
    ] = None

    def settings(self, *, udp: bool) -> ProxySettings | None:
        """Return the proxy settings, or None. Errors: BadArgument, Interrupted (at the prompt)."""
        if self.proxy is None:
            for option, given in {
                "-X": self.proxy_type,
                "-P": self.proxy_auth,
                "--proxy-dns": self.proxy_dns,
            }.items():
                if given is not None:
                    raise BadArgument(f"{option} requires -x")
            return None
        if udp:
            raise BadArgument("-x cannot be used with -u: the proxy protocols support TCP only")
        from netkat.commands.connect.proxy_route import ProxyKind, ProxySettings

        word = self.proxy_type or "5"
        if word.lower() not in _KINDS:
            raise BadArgument(f"-X: invalid proxy type {word!r}", hint="use 4, 4a, 5 or connect")
        kind = ProxyKind[_KINDS[word.lower()]]
        host, port = _place(self.proxy, "3128" if kind is ProxyKind.HTTP else "1080")
        only_addresses = kind is ProxyKind.SOCKS4
        resolver = self.proxy_dns or ("local" if only_addresses else "remote")
        if resolver not in _RESOLVERS:
            raise BadArgument(
                f"--proxy-dns: invalid value {resolver!r}", hint=f"use {', '.join(_RESOLVERS)}"
            )
        if only_addresses and resolver in ("remote", "both"):
            raise BadArgument(
                f"--proxy-dns {resolver} cannot be used with -X {word}",
                hint="use -X 4a for names: SOCKS4 supports IP addresses only",
            )
        return ProxySettings(host, port, self._authenticated(kind, self.proxy), resolver)

    def _authenticated(self, kind: ProxyKind, proxy: str) -> Proxy:
        from netkat.commands.connect.proxy_route import Proxy, ProxyKind

        option, word = "-P", self.proxy_auth
        if word is None:
            option, word = VARIABLE, os.environ.get(VARIABLE)
        if word is None:
            return Proxy(kind)
        user, colon, password = word.partition(":")
        without = kind in (ProxyKind.SOCKS4, ProxyKind.SOCKS4A)
        if not user:
            raise BadArgument(f"{option}: empty user name")
        if without and colon:
            raise BadArgument(f"{option}: SOCKS4 does not support passwords")
        if not without and not colon:
            from netkat.cli.password import ask

            password = ask(f"Password of {user} for the proxy {proxy}: ", option)
        for what, text in (("user", user), ("password", password)):
            if not (text.isascii() and text.isprintable() and len(text) < 256):
                raise BadArgument(f"{option}: the {what} must be 1 to 255 ASCII characters")
        if kind is ProxyKind.SOCKS5 and not password:
            raise BadArgument(f"{option}: SOCKS5 requires a non-empty password")
        return Proxy(kind, user, None if without else password)


def _place(word: str, usual: str) -> tuple[str, str]:
    """Parse ADDR[:PORT]; an IPv6 address with a port is in brackets."""
    if not word or re.fullmatch(r":[^:]+", word):
        raise BadArgument(f"-x: invalid proxy {word!r}", hint="use -x ADDR[:PORT]")
    if "://" in word:
        raise BadArgument(f"-x: {word!r} is not ADDR[:PORT]", hint="set the proxy type with -X")
    match = re.fullmatch(r"\[([^\]]+)\](?::([^:]*))?|([^:]+):([^:]*)", word)
    if match is None:
        return parse.host(word), usual
    host, port = match[1] or match[3], match[2] if match[1] else match[4]
    return parse.host(host), usual if port is None else parse.destination_port(port)
