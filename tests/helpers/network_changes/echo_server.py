"""The peer's program: echoes TCP and UDP on fixed ports, for IPv4 and IPv6, and says nothing."""

from __future__ import annotations

import os
import socket
import sys
import threading

from tests.helpers.network_changes.lab import PEER

TCP_PORT, UDP_PORT, LISTEN_PORT = 7000, 7001, 7002


def main() -> None:
    """Print a line once it serves; end with stdin."""
    listener = socket.create_server(
        ("::", TCP_PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256
    )
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        # An echo comes from the address that was written to.
        datagrams.bind((PEER[version], UDP_PORT))
        threading.Thread(target=_echo_datagrams, args=(datagrams,), daemon=True).start()
    os.write(1, b'{"form": "agent", "kind": "ready", "time": 0, "began": 0}\n')
    sys.stdin.read()
    os._exit(0)


def _accept(listener: socket.socket) -> None:
    while True:
        conn = listener.accept()[0]
        threading.Thread(target=_echo, args=(conn,), daemon=True).start()


def _echo(conn: socket.socket) -> None:
    try:
        with conn:
            while data := conn.recv(65536):
                conn.sendall(data)
    except OSError:
        return


def _echo_datagrams(sock: socket.socket) -> None:
    while True:
        data, address = sock.recvfrom(65536)
        try:
            sock.sendto(data, address)
        except OSError:
            continue


if __name__ == "__main__":
    main()
