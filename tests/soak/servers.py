"""Kernel servers at the far end: TCP and UDP echo, and clients of netkat's listener.

python -m tests.soak.servers ADDRESS        prints {"tcp": PORT, "udp": PORT}; a line on stdin,
                                            {"connect": [HOST, PORT]}, starts the clients,
                                                the next one stops them
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import resource
import socket
import sys
import threading
import time
from collections import Counter

BLOCK = 1 << 16
RETRY = 0.2
counts: Counter[str] = Counter()
failures: list[str] = []
stop = threading.Event()


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    address = sys.argv[1]
    listener = socket.create_server((address, 0), backlog=4096)
    listener.setblocking(False)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 0))
    start(lambda: asyncio.run(serve(listener)))
    start(echo_datagrams, udp)
    print(json.dumps({"tcp": listener.getsockname()[1], "udp": udp.getsockname()[1]}), flush=True)
    host, port = json.loads(sys.stdin.readline())["connect"]
    clients = [start(connect, (host, port)) for _ in range(2)]
    sys.stdin.readline()
    stop.set()
    for client in clients:
        client.join(90)
    print(json.dumps({"counts": counts, "failures": failures}), flush=True)
    sys.stdin.read()
    os._exit(0)


def start(target: object, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


async def serve(listener: socket.socket) -> None:
    """Echo on thousands of connections, in one thread."""
    server = await asyncio.start_server(echo, sock=listener)
    await server.serve_forever()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(BLOCK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # a client that was killed
    finally:
        writer.close()


def echo_datagrams(udp: socket.socket) -> None:
    while True:
        data, client = udp.recvfrom(BLOCK)
        try:
            udp.sendto(data, client)
        except OSError:
            pass  # an ICMP error about a client that is gone


def connect(address: tuple[str, int]) -> None:
    """Connect to netkat's listener, one connection after the other, and check what it echoes."""
    while not stop.is_set():
        data = os.urandom(random.randrange(1, 100_000))
        try:
            conn = socket.create_connection(address, timeout=60)
        except OSError:
            counts["connects_retried"] += 1
            time.sleep(RETRY)
            continue
        try:
            with conn:
                conn.settimeout(90)
                conn.sendall(data)
                conn.shutdown(socket.SHUT_WR)
                returned = read_all(conn)
        except OSError as error:
            failures.append(f"client of the listener: {error!r}")
            continue
        if hashlib.sha256(returned).digest() != hashlib.sha256(data).digest():
            failures.append(f"the listener echoed {len(returned)} of {len(data)} bytes, or others")
        counts["accepted"] += 1


def read_all(conn: socket.socket) -> bytes:
    return b"".join(iter(lambda: conn.recv(BLOCK), b""))


if __name__ == "__main__":
    main()
