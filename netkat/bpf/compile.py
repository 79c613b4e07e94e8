#!/usr/bin/python3
"""Compile ingress.c to ingress.insns, the instructions that ship with netkat.

Run by the system's Python, which is where Debian's python3-bpfcc lives::

    /usr/bin/python3 netkat/bpf/compile.py            write ingress.insns
    /usr/bin/python3 netkat/bpf/compile.py --check    exit 1 when it would differ

Standard library and bcc only. Wants root (BCC creates the map in the kernel)
and kernel headers of any version, found by their folders alone: nothing in
/lib/modules has to match the running kernel, and nothing is written there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

FUNCTION = "netkat_ingress"
SOURCE = Path(__file__).with_name("ingress.c")
OUTPUT = Path(__file__).with_name("ingress.insns")

LD_IMM64 = 0x18
PSEUDO_MAP_FD = 1

KERNEL_ARCH = {"x86_64": "x86", "aarch64": "arm64"}

HEADER = """\
# The ingress guard as eBPF instructions, made from ingress.c by compile.py. Do not edit.
#
# One instruction a line, struct bpf_insn (uapi/linux/bpf.h) in hex:
# code, src and dst register, offset, immediate. Little-endian, and the same on
# every little-endian machine (x86-64, arm64). Where code is 18 and src is 1 the
# immediate is the flow map's descriptor, put there by the loader.
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


def compile_source() -> bytes:
    """The instructions, 8 bytes each, map descriptors cleared."""
    with tempfile.TemporaryDirectory(prefix="netkat-headers-") as tree:
        join_headers(header_folders(), Path(tree))
        os.environ["BCC_KERNEL_SOURCE"] = tree
        from bcc import BPF  # type: ignore[import-not-found]

        program = BPF(src_file=str(SOURCE), cflags=["-Wno-macro-redefined"])
        code = bytearray(program.dump_func(FUNCTION))
    for at in range(0, len(code), 8):
        if code[at] == LD_IMM64 and code[at + 1] >> 4 == PSEUDO_MAP_FD:
            code[at + 4 : at + 8] = bytes(4)
    return bytes(code)


def as_text(code: bytes) -> str:
    """The file's text."""
    lines = []
    for at in range(0, len(code), 8):
        word = code[at : at + 8]
        lines.append(f"{word[0]:02x} {word[1]:02x} {word[2:4].hex()} {word[4:8].hex()}\n")
    return HEADER + "".join(lines)


def main(arguments: list[str]) -> int:
    """Exit code: 0 written or the same, 1 different under --check, 2 cannot compile here."""
    parser = argparse.ArgumentParser(description="Compile ingress.c with BCC.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args(arguments).check
    if sys.byteorder != "little":
        print("compile.py: ingress.insns is little-endian, this machine is not", file=sys.stderr)
        return 2
    try:
        text = as_text(compile_source())
    except ImportError:
        print("compile.py: no bcc; Debian: apt-get install python3-bpfcc", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"compile.py: {error}", file=sys.stderr)
        return 2
    shipped = OUTPUT.read_text() if OUTPUT.exists() else ""
    if text == shipped:
        print(f"{OUTPUT.name} is what {SOURCE.name} compiles to")
        return 0
    if check:
        print(f"{OUTPUT.name} is not what {SOURCE.name} compiles to", file=sys.stderr)
        return 1
    OUTPUT.write_text(text)
    print(f"{OUTPUT.name} written: {text.count(chr(10)) - HEADER.count(chr(10))} instructions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
