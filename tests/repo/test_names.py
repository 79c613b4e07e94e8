"""Each module base name and public class name occurs once, so that a traceback is clear."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.repo import tree

PRODUCT = tree.files("netkat/**/*.py", "buildsteps/*.py", "bench/*.py")

SAME_INTERFACE = {"Transport", "AsyncTransport"}
"""netkat.httpx and netkat.httpx2 offer the same classes for two clients."""

MODULES_TO_RENAME = {
    "conntrack",
    "dispatch",
}
CLASSES_TO_RENAME = {
    "Attempt",
    "Client",
    "Connection",
    "Endpoint",
    "Evidence",
    "Finding",
    "PacketSocket",
    "Probe",
    "Session",
    "Stack",
    "Target",
    "Verdict",
}
"""Names that are still used twice. These sets only shrink."""


def _twice(places: dict[str, list[str]], allowed: set[str]) -> dict[str, list[str]]:
    return {name: paths for name, paths in places.items() if len(paths) > 1 and name not in allowed}


def test_module_base_name_is_used_once() -> None:
    places = defaultdict(list)
    for path in PRODUCT:
        if path.stem not in ("__init__", "__main__"):
            places[path.stem].append(str(path))
    assert _twice(places, MODULES_TO_RENAME) == {}


def test_public_class_name_is_used_once() -> None:
    places = defaultdict(list)
    for path in PRODUCT:
        for node in tree.syntax(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path))
    assert _twice(places, CLASSES_TO_RENAME | SAME_INTERFACE) == {}
