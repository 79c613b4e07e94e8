"""A long-running program that uses netkat in every way at once, and checks every byte.

python -m tests.soak.worker LOCAL PEER TCP UDP    prints {"port": PORT}, then a line a second
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import netkat
from netkat.errors import NetkatError, SetupError

BLOCK = 1 << 16
RETRY = 0.2
PATIENCE = 90.0
"""Seconds that an operation may take: a kernel connection backs off as long through an outage."""

counts: Counter[str] = Counter()
failures: list[str] = []
stop = threading.Event()


def main() -> None:
    local, peer, tcp, udp = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    listener = netkat.create_server((local, 0))
    listener.settimeout(1.0)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    works: list[Callable[[], None]] = [
        *[lambda: connections(peer, tcp)] * 3,
        lambda: idle(peer, tcp),
        lambda: socket_pair(peer, tcp),
        lambda: serve(listener),
        *[lambda: datagrams(peer, udp)] * 2,
        sniff,
    ]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    while not select.select([sys.stdin], [], [], 1.0)[0]:
        print(json.dumps({**resources(), "counts": counts}), flush=True)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE + 30)
    hung = [thread.name for thread in threads if thread.is_alive()]
    if hung:
        failures.append(f"threads that did not end: {hung}")
    print(json.dumps({**resources(), "counts": counts, "failures": failures}), flush=True)
    os._exit(0)


def guarded(work: Callable[[], None]) -> None:
    while not stop.is_set():
        try:
            work()
        except Exception as error:
            failures.append(f"{time.monotonic():.1f} {described(error)}")


def described(error: Exception) -> str:
    """The error, and the function of this program that met it."""
    frame = error.__traceback__
    assert frame is not None
    where = frame.tb_next or frame
    return f"{where.tb_frame.f_code.co_name}: {type(error).__name__}: {error}"


def resources() -> dict[str, float]:
    """Seconds, resident KiB, open descriptors, threads."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "time": time.monotonic(),
        "resident": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def connect(peer: str, port: int) -> netkat.TcpConnection | None:
    """A connection, or None where the interface or the route is away at this moment."""
    try:
        return netkat.create_connection((peer, port), timeout=PATIENCE)
    except SetupError:
        counts["connects_retried"] += 1
        time.sleep(RETRY)
        return None


def connections(peer: str, port: int) -> None:
    """Connect, send, half-close, read to the end, compare."""
    conn = connect(peer, port)
    if conn is None:
        return
    data = os.urandom(random.randrange(1, 200_000))
    with conn:
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        returned = b"".join(iter(lambda: conn.recv(BLOCK), b""))
    compare("connection", data, returned)


def idle(peer: str, port: int) -> None:
    """One connection for the whole time, which says little."""
    conn = connect(peer, port)
    if conn is None:
        return
    with conn:
        while not stop.is_set():
            data = os.urandom(100)
            send_with_address(lambda data=data: conn.sendall(data))  # type: ignore[misc]
            compare("idle connection", data, read_exactly(conn.recv, len(data)))
            stop.wait(0.5)


def socket_pair(peer: str, port: int) -> None:
    """The same through as_socket()."""
    conn = connect(peer, port)
    if conn is None:
        return
    with conn.as_socket() as sock:
        sock.settimeout(PATIENCE)
        for _ in range(60):
            data = os.urandom(1000)
            sock.sendall(data)
            compare("as_socket()", data, read_exactly(sock.recv, len(data)))
            if stop.wait(0.3):
                return


def send_with_address(send: Callable[[], None]) -> None:
    """Send once the source address is there: without it a send is an error, as the kernel's."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return send()
        except NetkatError:
            counts["sends_retried"] += 1
            if time.monotonic() > end:
                raise
            time.sleep(RETRY)


def read_exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := receive(size - len(data))):
        data += more
    return data


def serve(listener: netkat.TcpListener) -> None:
    """Echo what clients send."""
    try:
        conn, _ = listener.accept()
    except TimeoutError:
        return
    threading.Thread(target=guarded_once, args=(conn,), daemon=True).start()


def guarded_once(conn: netkat.TcpConnection) -> None:
    try:
        with conn:
            conn.settimeout(PATIENCE)
            while data := conn.recv(BLOCK):
                conn.sendall(data)
        counts["served"] += 1
    except Exception as error:
        failures.append(f"{time.monotonic():.1f} listener: {type(error).__name__}: {error}")


def datagrams(peer: str, port: int) -> None:
    """Ask until the answer comes; what comes is what was sent, whole."""
    try:
        conn = netkat.open_datagram((peer, port), timeout=0.5)
    except SetupError:
        counts["connects_retried"] += 1
        time.sleep(RETRY)
        return
    with conn:
        for number in range(200):
            data = number.to_bytes(4, "big") + os.urandom(random.randrange(1, 1400))
            if not asked(conn, data) or stop.is_set():
                return


def asked(conn: netkat.UdpConnection, data: bytes) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            conn.send(data)
            while True:
                answer = conn.recv()
                if answer[:4] == data[:4]:
                    compare("datagram", data, answer)
                    return True
        except TimeoutError:  # lost
            counts["datagrams_retried"] += 1
        except NetkatError:  # no source address or route at this moment
            counts["datagrams_retried"] += 1
            time.sleep(RETRY)
    failures.append(f"no answer to a datagram in {PATIENCE:g} s")
    return False


def sniff() -> None:
    """Capture for some seconds, again and again."""
    try:
        with netkat.sniff("tcp", interface="eth0", timeout=3.0) as sniffer:
            counts["packets"] += sum(1 for _ in sniffer)
    except SetupError:
        counts["captures_ended"] += 1
        time.sleep(RETRY)


def compare(what: str, sent: bytes, returned: bytes) -> None:
    if hashlib.sha256(sent).digest() != hashlib.sha256(returned).digest():
        failures.append(f"{what}: {len(returned)} of {len(sent)} bytes returned, or others")
    counts[what] += 1


if __name__ == "__main__":
    main()
