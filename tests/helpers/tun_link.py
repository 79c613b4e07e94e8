"""Two namespaces joined by tun devices: a thread of the test carries packets from one to the other.

What tc and AF_PACKET see there has no Ethernet header, as on WireGuard and ipip.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.helpers.netns import Namespace

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


@contextmanager
def tun_link(a: Namespace, b: Namespace, name: str = "tun0") -> Iterator[None]:
    """A tun device in each, still without addresses, and packets carried between them."""
    with ExitStack() as undo:
        ends = []
        for space in (a, b):
            descriptor = space.call(lambda: opened(name))
            undo.callback(os.close, descriptor)
            ends.append(descriptor)
            space.sysctl(f"net.ipv6.conf.{name}.addr_gen_mode", 1)
        stop = os.eventfd(0)
        undo.callback(os.close, stop)
        thread = threading.Thread(target=carry, args=(ends[0], ends[1], stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.eventfd_write(stop, 1)
            thread.join()


def opened(name: str) -> int:
    """A tun device of the thread's namespace."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def carry(a: int, b: int, stop: int) -> None:
    """Packets from each to the other until told to stop."""
    poller = select.poll()
    for descriptor in (a, b, stop):
        poller.register(descriptor, select.POLLIN)
    other = {a: b, b: a}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == stop:
                return
            try:
                os.write(other[descriptor], os.read(descriptor, 65536))
            except OSError:
                continue  # an end that is still down
