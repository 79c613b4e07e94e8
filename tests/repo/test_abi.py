"""gostack.h is the ABI: Go exports and Python calls exactly what it declares."""

from __future__ import annotations

import re

from buildsteps import native
from tests.repo import tree

HEADER = tree.text(next(iter(tree.files("gostack/gostack.h"))))


def declared() -> set[str]:
    without_comments = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    return set(re.findall(r"^\w+ (gs_\w+)\(", without_comments, re.MULTILINE))


def exported() -> set[str]:
    go = tree.files("gostack/*.go")
    return {name for path in go for name in re.findall(r"^//export (\w+)", tree.text(path), re.M)}


def called() -> set[str]:
    facade = tree.files("netkat/stack/*.py")
    return {name for path in facade for name in re.findall(r"\.(gs_\w+)\b", tree.text(path))}


def test_header_is_read() -> None:
    assert len(declared()) > 20
    assert {"gs_abi", "gs_stack_new", "gs_observe"} <= declared()


def test_go_exports_what_the_header_declares() -> None:
    assert exported() == declared()


def test_python_calls_what_the_header_declares() -> None:
    assert called() == declared()


def test_every_number_of_the_header_reaches_cffi() -> None:
    numbers = set(re.findall(r"^#define (GS_\w+) \S", HEADER, re.MULTILINE))
    kept = set(re.findall(r"^#define (GS_\w+) -?\d+$", native.declarations(HEADER), re.MULTILINE))
    assert numbers == kept
    assert "GS_ABI" in numbers


def test_cgo_reads_the_same_header() -> None:
    includes = [path for path in tree.files("gostack/*.go") if "<gostack.h>" in tree.text(path)]
    assert includes
