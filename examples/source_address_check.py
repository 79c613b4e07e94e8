"""Print the address that a service sees: of an external client, and of this host.

Run it: sudo .venv/bin/python examples/source_address_check.py 10.111.111.129 80

The service must reply with its client's address, as ``netkat -lk --reply http 80`` and agnhost's
/clientip do. With externalTrafficPolicy: Local both lines are this node's address. With Cluster the
first one is translated on the path.
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
