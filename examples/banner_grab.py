"""What does a port say of itself? One connection, past this host's rules.

Run it: sudo .venv/bin/python examples/banner_grab.py 10.111.111.129 22
"""

from __future__ import annotations

import sys

import netkat


def banner(host: str, port: int) -> bytes:
    """The first bytes that the peer sends unasked, 3 s long at most."""
    with netkat.create_connection((host, port), timeout=3) as conn:
        return conn.recv(256)


if __name__ == "__main__":
    try:
        print(banner(sys.argv[1], int(sys.argv[2])))
    except netkat.NetkatError as error:
        # Each fault has its own class and fields, and a next step: docs/exceptions.md.
        sys.exit(f"{error}\nnext: {error.hint}")
