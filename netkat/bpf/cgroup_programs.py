"""Programs of a cgroup that see a socket before any packet exists (BPF_PROG_QUERY)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from netkat.bpf.bpf_syscall import Command, address, bpf
from netkat.bpf.program import name_of

HOOKS: Final = {
    "cgroup_inet4_connect": 10,
    "cgroup_inet6_connect": 11,
    "cgroup_udp4_sendmsg": 14,
    "cgroup_udp6_sendmsg": 15,
    "cgroup_inet_ingress": 0,
    "cgroup_inet_egress": 1,
}
"""BPF_CGROUP_* of uapi/linux/bpf.h that may redirect or drop a connection."""
_EFFECTIVE = 1
_QUERY = struct.Struct("=4IQI4xQQQQ")
_COUNT = struct.Struct("=24xI")
_MOST = 64


def own_cgroup(pid: str = "self") -> Path | None:
    """The folder of a process's cgroup in the cgroup2 tree; None where none is mounted."""
    inside = ""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            inside = line[3:].lstrip("/")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            folder = Path(where.replace("\\040", " ")) / inside
            # In another cgroup namespace the path does not exist below this mount.
            return folder if folder.is_dir() else Path(where)
    return None


def effective_programs(cgroup: Path) -> list[str]:
    """Every program that applies to the cgroup's sockets, its ancestors' too: hook, ID, name.

    Errors: OSError (EPERM without CAP_NET_ADMIN; names require CAP_SYS_ADMIN).
    """
    descriptor = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return [
            f"{hook} program {number}" + (f" {name}" if (name := name_of(number)) else "")
            for hook, kind in HOOKS.items()
            for number in _programs(descriptor, kind)
        ]
    finally:
        os.close(descriptor)


def _programs(cgroup: int, kind: int) -> Iterator[int]:
    ids = bytearray(4 * _MOST)
    query = bytearray(_QUERY.pack(cgroup, kind, _EFFECTIVE, 0, address(ids), _MOST, 0, 0, 0, 0))
    try:
        bpf(Command.PROG_QUERY, query)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # a kernel without this hook
            return
        raise
    count = _COUNT.unpack_from(query)[0]
    yield from struct.unpack_from(f"={min(count, _MOST)}I", ids)
