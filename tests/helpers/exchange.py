"""Real exchanges through netkat on a link, and that the kernel had no part in them.

    exchange_all(space, {4: "10.0.0.2", 6: "fd00::2"}, server)

Each is compared byte for byte, with the guard's own proof on; what the far end
saw of the kernel is asked of a capture there.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from netkat import Stack
from netkat.conn import UdpConnection
from tests.helpers.capture import capture
from tests.helpers.netns import ROOT, Namespace
from tests.helpers.peers import pattern, peer

SIZE = 200_000


def netkat(*arguments: str) -> list[str]:
    """The command as a user would call it."""
    return [sys.executable, "-m", "netkat", *arguments]


def run(
    space: Namespace, *arguments: str, stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """netkat in a namespace, to its end."""
    return space.run(netkat(*arguments), input=stdin, check=check, cwd=ROOT)


def tcp_echo(space: Namespace, address: str, port: int, *options: str, size: int = SIZE) -> str:
    """``size`` bytes there and back by the command, compared; what it said on stderr."""
    data = pattern(size)
    done = space.run(
        netkat("-v", *options, address, str(port)), input=data, text=False, cwd=ROOT, check=False
    )
    said: str = done.stderr.decode()  # type: ignore[attr-defined]
    assert done.returncode == 0, said
    digests = [hashlib.sha256(end).hexdigest() for end in (data, done.stdout)]  # type: ignore[arg-type]
    assert digests[0] == digests[1], f"{len(done.stdout)} bytes back\n{said}"
    return said


@contextmanager
def datagrams(
    space: Namespace, address: str, port: int, **options: object
) -> Iterator[UdpConnection]:
    """A UDP connection of this process's own, from inside a namespace."""
    with (
        Stack(netns=space.name, **options) as stack,  # type: ignore[arg-type]
        stack.open_datagram((address, port), timeout=5) as conn,
    ):
        yield conn


def udp_echo(space: Namespace, address: str, port: int, *sizes: int, **options: object) -> None:
    """A datagram of each size there and back, compared."""
    with datagrams(space, address, port, **options) as conn:
        for size in sizes or (1, 1000):
            data = pattern(size, f"datagram {size}")
            conn.send(data)
            assert conn.recv(65536) == data


def exchange_all(
    space: Namespace,
    server: Namespace,
    addresses: dict[int, str],
    *,
    server_interface: str = "eth0",
) -> None:
    """TCP and UDP, IPv4 and IPv6, by eBPF and classic guard; the kernel answers nothing."""
    with (
        peer(server, "tcp-echo") as tcp,
        peer(server, "udp-echo") as udp,
        capture(server, server_interface) as seen,
    ):
        for version, address in addresses.items():
            for step in ("tcx", "clsact", "cbpf"):
                said = tcp_echo(space, address, tcp.port, "--guard", step)
                assert f": {step}: " in said, said
            udp_echo(space, address, udp.port, guard="tcx" if version == 4 else "cbpf")
    ours = {str(address) for address in addresses.values()}
    for packet in seen.packets:
        from_netkat = str(packet.source) not in ours
        assert not (from_netkat and (packet.rst or packet.icmp_error)), packet
    assert any(packet.syn for packet in seen.packets)
