"""docs/architecture.md speaks of the tree that is there."""

from __future__ import annotations

import re

from tests.repo import tree

TEXT = (tree.ROOT / "docs/architecture.md").read_text()
NAMED = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", TEXT)) | set(re.findall(r"`(\w+\.py)`", TEXT))


def test_files_and_folders_that_are_named_exist() -> None:
    places = (tree.ROOT, tree.ROOT / "netkat", tree.ROOT / "gostack")
    missing = [name for name in NAMED if not any((place / name).exists() for place in places)]
    assert len(NAMED) > 20
    assert missing == []


def test_every_room_is_told_of() -> None:
    rooms = {path.parts[1] for path in tree.files("netkat/*/*.py")}
    assert {room for room in rooms if f"`netkat/{room}/`" not in TEXT} == set()


def test_links_lead_somewhere() -> None:
    for path in tree.files("*.md", "docs/**/*.md"):
        folder = (tree.ROOT / path).parent
        targets = re.findall(r"\]\(([^)#:]+)\)", tree.text(path))
        assert [target for target in targets if not (folder / target).exists()] == [], path
