"""Which address does a service see? Asked as an external client, and as this host's own.

Run it: sudo .venv/bin/python examples/source_address_check.py 10.111.111.129 80

The service must answer with its client's address: ``netkat -lk --reply http 80`` does, and so
does agnhost's /clientip. With externalTrafficPolicy: Local both lines are this
node's address; with Cluster the first is rewritten on the way.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import netkat

if TYPE_CHECKING:
    from netkat.conn import TcpConnection


def asked(conn: TcpConnection | socket.socket) -> str:
    """What the service answers."""
    with conn:
        conn.sendall(b"GET /clientip HTTP/1.0\r\n\r\n")
        parts = []
        while data := conn.recv(4096):
            parts.append(data)
    body = b"".join(parts).rpartition(b"\r\n\r\n")[2]
    return body.decode(errors="replace").partition("\n")[0]


def main(host: str, port: int) -> None:
    """Both answers, or why there is none."""
    for way, dial in (
        ("past the host's rules", netkat.create_connection),
        ("through the host's own", socket.create_connection),
    ):
        try:
            print(f"{way}: {asked(dial((host, port), timeout=3))}")
        except OSError as error:
            print(f"{way}: {error}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
