#!/usr/bin/python3
"""Compile ingress.c and socket_filter.c to the instructions that ship with netkat.

Run by the system's Python, which is where Debian's python3-bpfcc lives::

    /usr/bin/python3 netkat/bpf/compile.py            write the .insns files
    /usr/bin/python3 netkat/bpf/compile.py --check    exit 1 when it would differ

Standard library and bcc only. Wants root (BCC creates the map in the kernel)
and kernel headers of any version, found by their folders alone: nothing in
/lib/modules has to match the running kernel, and nothing is written there.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

PROGRAMS = {
    "guard/ingress.insns": ("guard/ingress.c", "netkat_ingress"),
    "filters/socket_filter.insns": ("filters/socket_filter.c", "netkat_filter"),
}
"""Output: source, function; paths relative to this file."""

LD_IMM64 = 0x18
PSEUDO_MAP_FD = 1

KERNEL_ARCH = {"x86_64": "x86", "aarch64": "arm64"}

HEADER = """\
# The function %s as eBPF instructions, made from %s by compile.py. Do not edit.
#
# One instruction a line, struct bpf_insn (uapi/linux/bpf.h) in hex:
# code, src and dst register, offset, immediate. Little-endian, and the same on
# every little-endian machine (x86-64, arm64). Where code is 18 and src is 1 the
# immediate is the flow map's descriptor; 6e6b6e68 is the network header's offset. The loader
# (prebuilt.py) fills in both.
"""


def header_folders() -> list[Path]:
    """Where this machine's kernel headers are; later folders fill what earlier ones lack.

    Debian splits them in two: what one architecture generated, and what all share.
    Errors: FileNotFoundError.
    """
    running = Path("/lib/modules") / os.uname().release
    if (running / "build").is_dir():
        return [path for path in (running / "build", running / "source") if path.is_dir()]
    shared = sorted(Path("/usr/src").glob("linux-headers-*-common"))
    for common in reversed(shared):
        version = common.name.removesuffix("-common")
        for own in sorted(common.parent.glob(f"{version}-*")):
            if (own / "include" / "generated").is_dir():
                return [own, common]
    raise FileNotFoundError("no kernel headers; Debian: apt-get install linux-headers-amd64")


def join_headers(folders: list[Path], target: Path) -> None:
    """Make target one header tree out of links: BCC takes a single one by environment."""
    arch = KERNEL_ARCH.get(os.uname().machine, os.uname().machine)
    for part in ("include", f"arch/{arch}/include"):
        (target / part).mkdir(parents=True)
        for folder in folders:
            for entry in sorted((folder / part).glob("*")):
                link = target / part / entry.name
                if not link.exists():
                    link.symlink_to(entry)


def compile_function(source: str, function: str) -> bytes:
    """The instructions, 8 bytes each, map descriptors cleared."""
    with tempfile.TemporaryDirectory(prefix="netkat-headers-") as tree:
        join_headers(header_folders(), Path(tree))
        os.environ["BCC_KERNEL_SOURCE"] = tree
        from bcc import BPF  # type: ignore[import-not-found]  # Debian package, not in .venv

        program = BPF(text=with_lookup(source), cflags=["-Wno-macro-redefined"])
        code = bytearray(program.dump_func(function))
        program.cleanup()
    for at in range(0, len(code), 8):
        if code[at] == LD_IMM64 and code[at + 1] >> 4 == PSEUDO_MAP_FD:
            code[at + 4 : at + 8] = bytes(4)
    return bytes(code)


def with_lookup(source: str) -> str:
    """Return the source with flow_lookup.h inserted: BCC finds maps in its main file only."""
    path = HERE / source

    def contents(include: re.Match[str]) -> str:
        return (path.parent / include[1]).read_text()

    return re.sub(r'#include "(.+)"\n', contents, path.read_text())


def as_text(source: str, function: str, code: bytes) -> str:
    """The file's text."""
    lines = []
    for at in range(0, len(code), 8):
        word = code[at : at + 8]
        lines.append(f"{word[0]:02x} {word[1]:02x} {word[2:4].hex()} {word[4:8].hex()}\n")
    return HEADER % (function, Path(source).name) + "".join(lines)


def main(arguments: list[str]) -> int:
    """Exit code: 0 written or the same, 1 different under --check, 2 cannot compile here."""
    parser = argparse.ArgumentParser(description="Compile the BPF programs with BCC.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args(arguments).check
    if sys.byteorder != "little":
        print("compile.py: the .insns are little-endian, this machine is not", file=sys.stderr)
        return 2
    try:
        return max([renew(name, check=check) for name in PROGRAMS])
    except ImportError:
        print("compile.py: no bcc; Debian: apt-get install python3-bpfcc", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"compile.py: {error}", file=sys.stderr)
        return 2


def renew(name: str, *, check: bool) -> int:
    """Compile one, and compare or write: 1 where it is different under --check."""
    source, function = PROGRAMS[name]
    code = compile_function(source, function)
    text, output = as_text(source, function, code), HERE / name
    if output.exists() and output.read_text() == text:
        print(f"{name} is what {source} compiles to")
        return 0
    if check:
        print(f"{name} is not what {source} compiles to", file=sys.stderr)
        return 1
    output.write_text(text)
    print(f"{name} written: {len(code) // 8} instructions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
