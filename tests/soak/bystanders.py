"""Kernel connections of another program on the same interface, which nothing may disturb.

python -m tests.soak.bystanders PEER PORT COUNT    prints {"open": N}, then a line a second;
                                                   at the end of stdin every one must answer
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import socket
import sys
import time

ASKED = 50
"""Connections that are asked each second."""
PATIENCE = 120.0


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peer, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    conns = [opened(peer, port) for _ in range(count)]
    print(json.dumps({"open": len(conns)}), flush=True)
    failures: list[str] = []
    answered = 0
    while not select.select([sys.stdin], [], [], 1.0)[0]:
        for conn in random.sample(conns, min(ASKED, len(conns))):
            answered += ask(conn, failures)
        print(json.dumps({"answered": answered}), flush=True)
    alive = sum(ask(conn, failures) for conn in conns)
    print(json.dumps({"alive": alive, "answered": answered, "failures": failures[:20]}), flush=True)
    os._exit(0)


def opened(peer: str, port: int) -> socket.socket:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            conn = socket.create_connection((peer, port), timeout=PATIENCE)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            conn.settimeout(PATIENCE)
            return conn


def ask(conn: socket.socket, failures: list[str]) -> bool:
    data = os.urandom(16)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            conn.sendall(data)
            break
        except OSError as error:
            # Without a source address or a route a send is an error, and the connection stays.
            if time.monotonic() > end:
                failures.append(f"send: {error!r}")
                return False
            time.sleep(0.2)
    try:
        returned = b""
        while len(returned) < len(data):
            more = conn.recv(len(data) - len(returned))
            if not more:
                break
            returned += more
    except OSError as error:
        failures.append(f"receive: {error!r}")
        return False
    if returned != data:
        failures.append(f"{len(returned)} bytes came back, or others")
    return returned == data


if __name__ == "__main__":
    main()
