"""docs/architecture.md describes the existing tree."""

from __future__ import annotations

import re

from tests.repo import tree

TEXT = (tree.ROOT / "docs/architecture.md").read_text()
NAMED = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", TEXT)) | set(re.findall(r"`(\w+\.py)`", TEXT))


def test_named_files_and_folders_exist() -> None:
    places = (tree.ROOT, tree.ROOT / "netkat", tree.ROOT / "gostack")
    missing = [name for name in NAMED if not any((place / name).exists() for place in places)]
    assert len(NAMED) > 20
    assert missing == []


def test_every_package_is_described() -> None:
    packages = {path.parts[1] for path in tree.files("netkat/*/*.py")}
    assert {package for package in packages if f"`netkat/{package}/`" not in TEXT} == set()


def test_links_of_documents_resolve() -> None:
    for path in tree.files("*.md", "docs/**/*.md"):
        folder = (tree.ROOT / path).parent
        targets = re.findall(r"\]\(([^)#:]+)\)", tree.text(path))
        assert [target for target in targets if not (folder / target).exists()] == [], path
