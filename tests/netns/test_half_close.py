"""Who ends when: the same events for nc, ncat and netkat, with what each makes of them.

docs/half-close.md has this table for people; where netkat does better than the others
it is on purpose. Rows are played with all their columns at the same time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.ending_script import (
    EndInput,
    Event,
    Input,
    Pause,
    PeerAnswersTheEnd,
    PeerCloses,
    PeerFin,
    PeerReads,
    PeerResets,
    PeerSays,
    big_file,
    play_all,
)
from tests.helpers.netns import ROOT, Pair

BIG, SMALL = 100_000_000, 8_000_000
QUESTION, ANSWER = b"question\n", b"answer\n"
ALL, SOME = -1, -2
"""Every byte that was put in; as many as chance will have it."""


@dataclass(frozen=True)
class Expected:
    """``code`` None: it runs on. ``got``: what the peer has. ``words``: on stderr."""

    code: int | None
    out: bytes = b""
    got: int = ALL
    words: str = ""
    at_least: float = 0.0
    """Seconds that it takes from the last event on."""


SLOW_LINES = [step for _ in range(5) for step in (Input(b"line\n"), Pause(0.5))]
"""More than two seconds in all, and never two in a row without a line."""
ROWS: dict[str, tuple[str | int, list[Event], dict[str, Expected]]] = {
    "half-closed reader and a 100 MB file": (
        BIG,
        [PeerFin(), PeerReads(), PeerCloses()],
        {"nc -N": Expected(0), "ncat": Expected(0), "netkat": Expected(0)},
    ),
    "half-closed reader and a slow pipe": (
        "pipe",
        [PeerFin(), *SLOW_LINES, EndInput(), PeerReads(), PeerCloses()],
        {"nc -N": Expected(0), "ncat": Expected(0), "netkat": Expected(0)},
    ),
    "closed peer with an idle pipe": (
        "pipe",
        [PeerCloses()],
        {
            "nc": Expected(None),
            "nc -N": Expected(None),
            "ncat": Expected(None),
            "netkat": Expected(0, at_least=1.9),
        },
    ),
    "closed peer with a terminal": (
        "terminal",
        [PeerCloses()],
        {"nc": Expected(None), "ncat": Expected(None), "netkat": Expected(0)},
    ),
    "answer 1 s after end of input": (
        "pipe",
        [Input(QUESTION), EndInput(), PeerAnswersTheEnd(ANSWER), PeerCloses()],
        {
            "nc -w 3": Expected(0),
            "nc -N": Expected(0, ANSWER),
            "nc -q 0": Expected(0, ANSWER),
            "ncat": Expected(0, ANSWER),
            "netkat": Expected(0, ANSWER),
            "netkat -q 20": Expected(0, ANSWER),
        },
    ),
    "the same where nobody tells the peer of the end": (
        "pipe",
        [Input(QUESTION), EndInput(), PeerAnswersTheEnd(ANSWER, patience=1.0), PeerCloses()],
        {
            "nc": Expected(0),
            "ncat --no-shutdown": Expected(0),
            "netkat --no-shutdown": Expected(0),
        },
    ),
    "a peer that says something and stays": (
        "pipe",
        [PeerSays(ANSWER), Input(QUESTION), EndInput(), PeerReads()],
        {
            "nc -N": Expected(None, ANSWER),
            "nc -q 1": Expected(None, ANSWER),
            "ncat": Expected(None, ANSWER),
            "netkat": Expected(None, ANSWER),
            "netkat -q 1": Expected(0, ANSWER),
            "netkat -q 0": Expected(0, ANSWER),
            "netkat -w 3": Expected(0, ANSWER),
        },
    ),
    "a peer that closes after our FIN without a byte (Envoy)": (
        "pipe",
        [Input(QUESTION), EndInput(), PeerReads(), PeerCloses()],
        {
            "nc -N": Expected(0),
            "ncat": Expected(0),
            "netkat": Expected(
                0, words=r"without sending data \[9 bytes sent\]\n  next: use --no-shutdown"
            ),
            "netkat --send-only -q 20": Expected(0, words=r"\A\Z"),
        },
    ),
    "a RST in the middle": (
        "pipe",
        [Input(QUESTION), PeerReads(len(QUESTION)), PeerResets()],
        {
            "nc": Expected(0),
            "ncat": Expected(1, words="Connection reset by peer"),
            "netkat": Expected(1, words=r"Connection reset by peer \[RST from 10.99.0.2 ttl 64"),
        },
    ),
    "a peer that begins to read late": (
        SMALL,
        [PeerSays(ANSWER), Pause(0.7), PeerReads(), PeerCloses()],
        {
            "nc -N": Expected(0, ANSWER),
            "ncat": Expected(0, ANSWER),
            "ncat --send-only": Expected(0, got=SOME),
            "netkat": Expected(0, ANSWER),
            "netkat -q 0": Expected(0, ANSWER),
            "netkat --send-only": Expected(0),
        },
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_who_ends_when(pair: Pair, tmp_path: Path, row: str) -> None:
    stdin, script, expected = ROWS[row]
    put_in = sum(len(event.data) for event in script if isinstance(event, Input))
    if isinstance(stdin, int):
        put_in = stdin
    given = big_file(tmp_path / "file", stdin) if isinstance(stdin, int) else stdin
    codes = {column: wanted.code for column, wanted in expected.items()}
    for column, outcome in play_all(pair, codes, script, stdin=given).items():
        wanted = expected[column]
        said = f"{column}: {outcome}"
        assert (outcome.code, outcome.out) == (wanted.code, wanted.out), said
        assert wanted.got == SOME or outcome.peer_got == put_in, said
        assert outcome.whole, said
        assert re.search(wanted.words, outcome.said.decode()), said
        assert outcome.took >= wanted.at_least, said


def test_the_page_has_every_row() -> None:
    page = (ROOT / "docs/half-close.md").read_text()
    missing = [row for row in ROWS if f"| {row} |" not in page]
    assert missing == []
