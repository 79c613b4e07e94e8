"""netkat(1), from the same source as --help: commands, options, examples, exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildsteps import native
from buildsteps.toolchain import ROOT

PAGE = ROOT / "build" / "netkat.1"

_INTRODUCTION = """\
netkat sends and receives on this host as an external client would: through a packet socket
and a TCP/IP stack of its own. iptables, nftables, conntrack, IPVS and socket load balancers
of this host do not see the connection, and none of them is changed. If the first word is the
name of a command, netkat runs it. Otherwise netkat connects, or listens with -l."""

_EXIT = {
    "0": "connected and closed cleanly; with -z, at least one port replied",
    "1": "the network refused, or did not reply",
    "2": "netkat could not start: usage, name, capability, interface, port, library",
    "130, 143": "ended by SIGINT, by SIGTERM",
}
_SEE_ALSO = ("nc(1)", "ncat(1)", "tcpdump(8)", "pcap-filter(7)", "capabilities(7)", "tc-bpf(8)")


def build() -> bool:
    """Write the page. Return False if it is up to date. Requires typer, but no build."""
    now = native.fingerprint([*(ROOT / "netkat" / "cli").glob("*.py"), Path(__file__)])
    if PAGE.exists() and native.recorded(PAGE.name) == now:
        return False
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    native.record(PAGE.name, now)
    return True


def page() -> str:
    """Return the page in man(7) format."""
    from typer import Context
    from typer.main import get_command

    from netkat._version import __version__
    from netkat.cli.command_group import app
    from netkat.cli.help_text import panels

    root: Any = get_command(app)
    context = Context(root, info_name="netkat", **root.context_settings)
    lines = [f'.TH NETKAT 1 "" "netkat {__version__}" "User Commands"']
    lines += [".SH NAME", r"netkat \- netcat that bypasses this host's network rules"]
    lines += [".SH SYNOPSIS", *_synopsis(root, context)]
    lines += [".SH DESCRIPTION", *_text(_INTRODUCTION)]
    for name, command in root.commands.items():
        lines += _command(name, command, context)
    lines.append('.SH "OPTIONS WITHOUT A COMMAND"')
    for _, records in panels(root, context):
        lines += _records(records)
    lines.append('.SH "EXIT STATUS"')
    lines += _records(list(_EXIT.items()))
    lines += [".SH SEE ALSO", *_text(", ".join(_SEE_ALSO))]
    return "\n".join(lines) + "\n"


def _synopsis(root: Any, context: Any) -> list[str]:
    lines = [r".B netkat", r"[\fIOPTIONS\fR] \fIHOST PORT\fR"]
    for name, command in root.commands.items():
        pieces = " ".join(command.collect_usage_pieces(context))
        lines += [".br", f".B netkat {_escaped(name)}", _escaped(pieces)]
    return lines


def _command(name: str, command: Any, context: Any) -> list[str]:
    from netkat.cli.examples import EXAMPLES
    from netkat.cli.help_text import arguments_of, panels

    lines = [f'.SH "NETKAT {_escaped(name.upper())}"']
    first, *more = (command.help or "").split("\n\n")
    lines += _text(first)
    for paragraph in more:
        lines += [".PP", *_text(paragraph)]
    lines += _records(arguments_of(command, context))
    for panel, records in panels(command, context):
        lines += [f'.SS "{_escaped(panel)}"', *_records(records)]
    lines.append(".SS Examples")
    for line, what in EXAMPLES.get(name, ()):
        lines += [".TP", rf"\fB{_escaped(line)}\fR", *_text(what)]
    return lines


def _records(records: list[tuple[str, str]]) -> list[str]:
    return [
        line
        for names, text in records
        for line in (".TP", rf"\fB{_escaped(names)}\fR", *_text(text))
    ]


def _text(text: str) -> list[str]:
    return [_escaped(line.strip()) for line in text.splitlines() if line.strip()]


def _escaped(text: str) -> str:
    """Escape hyphens, so that they can be copied, and lines that look like a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{text}" if text[:1] in (".", "'") else text
