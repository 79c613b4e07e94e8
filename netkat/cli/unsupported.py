"""Options of other netcats that are not supported, and what to use instead."""

from __future__ import annotations

from typing import Any

_UNSUPPORTED = {
    "-D": "netkat has no kernel socket to debug; use -vv or --debug",
    "-F": "netkat has no kernel socket to pass; use its stdin and stdout",
    "-S": "gVisor has no TCP MD5 signatures; use nc",
    "-U": "UNIX sockets send no packets; use nc",
    "-Z": "gVisor has no DCCP; use nc",
    "-G": "routers drop source routes; use --via to set the next hop",
    "-g": "routers drop source routes; use --via to set the next hop",
    "--lua-exec": "use the Python package, or -e",
    "--lua-exec-internal": "use the Python package, or -e",
    "--broker": "netkat does not relay between clients; use ncat",
    "--chat": "netkat does not relay between clients; use ncat",
    "--allowfile": 'use --allow "$(paste -sd, FILE)"',
    "--denyfile": 'use --deny "$(paste -sd, FILE)"',
    "--unixsock": "UNIX sockets send no packets; use ncat",
    "--vsock": "vsock sends no network packets; use ncat",
    "--sctp": "gVisor has no SCTP; use ncat",
}
"""Options of nc and ncat."""

_WITHOUT_L = {
    "-k": "to keep receiving after the peer closes use -q -1 or --recv-only",
    "--keep-open": "to keep receiving after the peer closes use -q -1 or --recv-only",
}

_WITH_L = {
    "-r": "use netkat -l 0 for a free port",
    "-V": "use -i or HOST to select the interface",
    "--table": "use -i or HOST to select the interface",
    "--via": "use --reply-mac to reply to the source MAC of the client's packets",
    "--claim": "use an address of this host as HOST",
    "--kernel": "use nc -l for a kernel socket",
}


def replacement_for(
    option: str | None, command: str | None, group: Any
) -> tuple[str, str | None] | None:
    """Return the message and hint for an option that ``command`` lacks; None for a typo.

    ``group`` holds the commands, of which connect and listen have options of nc.
    """
    other = "listen" if command == "connect" else "connect"
    if option is None or command not in ("connect", "listen"):
        return None
    if option in _UNSUPPORTED:
        return f"{option} is not supported: {_UNSUPPORTED[option]}", None
    if option not in _options(group.commands[other]):
        return None
    if other == "listen":
        return f"{option} is only valid with -l", _WITHOUT_L.get(option)
    return f"{option} is not valid with -l", _WITH_L.get(option)


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}
