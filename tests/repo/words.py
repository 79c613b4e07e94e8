"""The word list: words that messages, documents and docstrings avoid, with replacements.

python -m tests.repo.words [PATH ...]    lists every use
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.repo.tree import ROOT

WORDS: dict[str, str] = {
    r"unasked": "by default, without being asked to",
    r"(is|are) not there": "is not supported, does not exist",
    r"do(es)? not go with": "cannot be used with",
    r"exclude each other": "cannot be used together",
    r"leave \S+ away|left away": "omit",
    r"so it is anyway": "already the default",
    r"thr(ow|ew|ows|own|owing) (it |them )?away": "drop (packets), discard (data)",
    r"\bate the": "dropped the",
    r"in silence": "silently, without a reply",
    r"(wire|way) leads": "is reachable through",
    r"this very": "this",
    r"\bgo(es)? by\b": "uses, follows",
    r"\banew\b|once more": "again",
    # Not the end of a literal: ARP lines have "who-has A tell B", as in tcpdump.
    r"\btold\b|\bsaid\b|\btells?\b(?! $)|\bsays?\b": "reported, message, report, print",
    r"\bwhoever\b|\bwhom\b": "the program, peer or thread that ...",
    r"\bours\b|\bour own\b|\bhis\b": "netkat's, the local host's, the caller's",
    r"\bsomebody\b|\bnobody\b": "another process, no process (say which)",
    r"let(s)? go of|gives? back|hands? on\b": "release, return, transfer",
    r"at rest\b|\brested\b|\bresting\b": "in TIME-WAIT, idle",
    r"last words": "final ACK and FIN",
    r"super-?frame": "GSO packet, GRO packet",
    r"\bladder\b": "guard modes",
    r"stands? (in|behind|before|there|beside|after)\b": "is in, is attached, is after",
    r"comes? to (nothing|grief)": "fails",
    r"told apart": "distinguished",
    r"more than once is once": "idempotent",
    r"\blook(s|ed|ing)? (at|into)\b": "check, read",
    r"to be had": "available",
    r"\bbefall|\bbefell": "error, failure",
    r"\bmend\b": "fix",
    r"\blull\b|\bweave\b|\berrand\b": "(name the mechanism)",
}
"""Regular expression, and its replacement."""

PATTERN = re.compile("|".join(f"(?:{word})" for word in WORDS), re.IGNORECASE)
IDENTIFIER = re.compile(r"`\w+`")
"""Names of the code in a document are as the code has them."""
DOCUMENTS = ("*.md", "docs/*.md", "docs/decisions/*.md", "deploy/*.md")
PACKAGES = ("netkat", "buildsteps", "bench", "examples")


class Use(NamedTuple):
    """One use of a word."""

    path: Path
    line: int
    word: str

    def __str__(self) -> str:
        return (
            f"{self.path.relative_to(ROOT)}:{self.line}: {self.word!r}: write {instead(self.word)}"
        )


def instead(word: str) -> str:
    """Return the replacement of a word."""
    return next(good for bad, good in WORDS.items() if re.fullmatch(bad, word, re.IGNORECASE))


def uses(paths: list[Path]) -> Iterator[Use]:
    """Return every use in these files."""
    for path in paths:
        for line, text in _texts(path):
            for found in PATTERN.finditer(text):
                yield Use(path, line + text.count("\n", 0, found.start()), found[0])


def files() -> list[Path]:
    """Return the files that the rule applies to."""
    found = [path for pattern in DOCUMENTS for path in ROOT.glob(pattern)]
    for package in PACKAGES:
        found += (ROOT / package).rglob("*.py")
    return sorted(found)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Return (line, text) of a document, or of each string literal of a module."""
    text = path.read_text()
    if path.suffix != ".py":
        yield 1, IDENTIFIER.sub("``", text)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def main() -> int:
    """List and count the uses."""
    given = [Path(word).resolve() for word in sys.argv[1:]]
    chosen = [path for path in files() if not given or any(path.is_relative_to(g) for g in given)]
    found = list(uses(chosen))
    for use in found:
        print(use)
    print(f"{len(found)} uses in {len({use.path for use in found})} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
