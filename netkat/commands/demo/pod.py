"""The pod of the Service: sends each client the address that it sees.

A script of its own, run inside the pod's namespace: TCP 8080 and UDP 8053, one line an answer,
``pod=NAME peer=ADDRESS:PORT``. Prints "ready" when it listens; ends when its stdin does.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import threading

TCP_PORT, UDP_PORT = 8080, 8053


def command(name: str) -> list[str]:
    """What runs this file as the pod ``name``: isolated, so that no environment reaches it."""
    return [sys.executable, "-I", __file__, name]


def _line(name: str, peer: tuple[str, int]) -> bytes:
    return f"pod={name} peer={peer[0]}:{peer[1]}\n".encode()


def _answer_stream(stream: socket.socket, peer: tuple[str, int], name: str) -> None:
    with stream, contextlib.suppress(OSError):
        stream.settimeout(1)
        stream.sendall(_line(name, peer))
        stream.shutdown(socket.SHUT_WR)
        # Closing with the request unread would send RST, which may overtake the answer.
        while stream.recv(4096):
            pass


def _accept(listener: socket.socket, name: str) -> None:
    stream, peer = listener.accept()
    threading.Thread(target=_answer_stream, args=(stream, peer, name), daemon=True).start()


def _answer_datagram(endpoint: socket.socket, name: str) -> None:
    _, peer = endpoint.recvfrom(65536)
    # A peer that is gone already: its ICMP error belongs to an earlier answer, not to this one.
    with contextlib.suppress(OSError):
        endpoint.sendto(_line(name, peer), peer)


def serve(name: str) -> None:
    """Answer until stdin ends, which it does when the demo ends, however it ends."""
    with (
        socket.create_server(("0.0.0.0", TCP_PORT), backlog=128) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint,
        selectors.DefaultSelector() as ready,
    ):
        endpoint.bind(("0.0.0.0", UDP_PORT))
        ready.register(listener, selectors.EVENT_READ, _accept)
        ready.register(endpoint, selectors.EVENT_READ, _answer_datagram)
        ready.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)
        while True:
            for key, _ in ready.select():
                if key.data is None:
                    return
                key.data(key.fileobj, name)


if __name__ == "__main__":
    serve(sys.argv[1])
