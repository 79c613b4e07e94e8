"""Print the banner of a server, over a connection that bypasses this host's rules.

Run it: sudo .venv/bin/python examples/banner_grab.py 10.111.111.129 22
"""

from __future__ import annotations

import sys

import netkat


def banner(host: str, port: int) -> bytes:
    """Return the first bytes that the peer sends within 3 s."""
    with netkat.create_connection((host, port), timeout=3) as conn:
        return conn.recv(256)


if __name__ == "__main__":
    try:
        print(banner(sys.argv[1], int(sys.argv[2])))
    except netkat.NetkatError as error:
        # Each error has a class, fields and a next step: docs/exceptions.md.
        sys.exit(f"{error}\nnext: {error.hint}")
