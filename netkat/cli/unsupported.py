"""Options that are not there, or not for this command, and what to use instead."""

from __future__ import annotations

from typing import Any

_UNSUPPORTED = {
    "-D": "there is no kernel socket to debug; use -vv or --debug",
    "-F": "no kernel descriptor to pass; use netkat's own stdin and stdout",
    "-S": "the stack has no TCP MD5 signatures; use nc",
    "-U": "a UNIX socket sends no packets; use nc",
    "-Z": "the stack has no DCCP; use nc",
    "-G": "routers drop source routes; --via names the next hop",
    "-g": "routers drop source routes; --via names the next hop",
    "--lua-exec": "import netkat in Python, or use -e",
    "--lua-exec-internal": "import netkat in Python, or use -e",
    "--broker": "netkat connects two ends; use ncat",
    "--chat": "netkat connects two ends; use ncat",
    "--allowfile": 'use --allow "$(paste -sd, FILE)"',
    "--denyfile": 'use --deny "$(paste -sd, FILE)"',
    "--unixsock": "a UNIX socket sends no packets; use ncat",
    "--vsock": "it sends no frames; use ncat",
    "--sctp": "the stack has no SCTP; use ncat",
}
"""Of other netcats."""

_WITHOUT_L = {
    "-k": "staying after the peer's end is -q -1 or --recv-only",
    "--keep-open": "staying after the peer's end is -q -1 or --recv-only",
}

_WITH_L = {
    "-r": "a free port is netkat -l 0",
    "-V": "-i or HOST says which interface answers",
    "--table": "-i or HOST says which interface answers",
    "--via": "--reply-mac answers by the way that the client's packets came",
    "--claim": "HOST is an address of this host",
    "--kernel": "nc -l is that",
}


def replacement_for(
    option: str | None, command: str | None, group: Any
) -> tuple[str, str | None] | None:
    """What to say of an option that ``command`` does not have, and a hint; None for a typo.

    ``group`` holds the commands, of which connect and listen share their words with nc.
    """
    other = "listen" if command == "connect" else "connect"
    if option is None or command not in ("connect", "listen"):
        return None
    if option in _UNSUPPORTED:
        return f"{option} is not there: {_UNSUPPORTED[option]}", None
    if option not in _options(group.commands[other]):
        return None
    if other == "listen":
        return f"{option} goes with -l alone: it is about listening", _WITHOUT_L.get(option)
    return f"{option} does not go with -l: it is about connecting", _WITH_L.get(option)


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}
