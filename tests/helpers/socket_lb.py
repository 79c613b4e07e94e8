"""A cgroup program that rewrites where sockets connect to, as Cilium's socket load balancer does.

    with socket_lb(IPv4Address(…), IPv6Address(…), port) as cgroup:
        run_inside(cgroup, space, ["nc", …], "")  # its connect() and sendto() go there

Hooks: connect4, connect6, sendmsg4, sendmsg6 (BPF_PROG_TYPE_CGROUP_SOCK_ADDR).
"""

from __future__ import annotations

import enum
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

from netkat.bpf.bpf_syscall import Command, address, bpf
from tests.helpers.netns import ROOT, Namespace

CGROUP_SOCK_ADDR = 18
INET4_CONNECT, INET6_CONNECT, UDP4_SENDMSG, UDP6_SENDMSG = 10, 11, 14, 15
USER_IP4, USER_IP6, USER_PORT = 4, 8, 24  # struct bpf_sock_addr, uapi/linux/bpf.h

MOV32_R2, STORE_R2, MOV_R0_ONE, EXIT = 0xB4, 0x63, 0xB7, 0x95


class Attach(enum.IntEnum):
    """The one command that netkat itself has no use for."""

    PROG_ATTACH = 8


def program(destination: IPv4Address | IPv6Address, port: int) -> bytes:
    """Instructions that put the destination's address and port into the context and allow it."""
    at = USER_IP4 if destination.version == 4 else USER_IP6
    words = [
        (at + index, word)
        for index, word in zip(
            range(0, len(destination.packed), 4),
            struct.unpack(f"={len(destination.packed) // 4}i", destination.packed),
            strict=True,
        )
    ]
    words.append((USER_PORT, socket.htons(port)))
    code = b"".join(
        struct.pack("=BBhi", MOV32_R2, 2, 0, word)
        + struct.pack("=BBhi", STORE_R2, 1 | 2 << 4, offset, 0)
        for offset, word in words
    )
    return code + struct.pack("=BBhi", MOV_R0_ONE, 0, 0, 1) + struct.pack("=BBhi", EXIT, 0, 0, 0)


def load(code: bytes, attach_type: int) -> int:
    """BPF_PROG_LOAD; the program's descriptor."""
    instructions, licence = bytearray(code), bytearray(b"Apache-2.0\0")
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        CGROUP_SOCK_ADDR,
        len(code) // 8,
        address(instructions),
        address(licence),
        0,
        0,
        0,  # no verifier log
        0,
        0,
        b"nk_socket_lb",
        0,
        attach_type,
    )
    return bpf(Command.PROG_LOAD, bytearray(attributes))


def attach(cgroup: int, program_fd: int, attach_type: int) -> None:
    """BPF_PROG_ATTACH; gone with the cgroup."""
    bpf(Attach.PROG_ATTACH, bytearray(struct.pack("=IIII", cgroup, program_fd, attach_type, 0)))  # type: ignore[arg-type]


@contextmanager
def cgroup2() -> Iterator[Path]:
    """Where cgroup2 is; where nobody has mounted it (a bare container), a mount of our own."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            yield Path(where)
            return
    with TemporaryDirectory(prefix="nk-cgroup-") as folder:
        subprocess.run(["mount", "-t", "cgroup2", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def socket_lb(to4: IPv4Address, to6: IPv6Address, port: int) -> Iterator[Path]:
    """A cgroup of our own whose sockets all end up at one place; its folder."""
    with ExitStack() as undo:
        folder = undo.enter_context(cgroup2()) / f"nk-test-{os.getpid()}"
        folder.mkdir()
        undo.callback(folder.rmdir)
        cgroup = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, cgroup)
        for attach_type in (INET4_CONNECT, INET6_CONNECT, UDP4_SENDMSG, UDP6_SENDMSG):
            to = to4 if attach_type in (INET4_CONNECT, UDP4_SENDMSG) else to6
            fd = load(program(to, port), attach_type)
            undo.callback(os.close, fd)
            attach(cgroup, fd, attach_type)
        yield folder


def run_inside(
    folder: Path, space: Namespace, argv: list[str], stdin: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in the cgroup, in a namespace; its output as text.

    The cgroup first: ip-netns(8) mounts a /sys of its own, with no cgroups in it.
    """
    script = f'echo $$ > "{folder}/cgroup.procs" && exec "$@"'
    command = ["sh", "-c", script, "sh", "ip", "netns", "exec", space.name, *argv]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=20, cwd=ROOT, check=False
    )
