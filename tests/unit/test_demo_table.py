"""The demo's text: what is marked, what is merged, how wide it gets. Outcomes are made up here."""

from __future__ import annotations

import io

import pytest

from netkat.commands import demo
from netkat.commands.demo import show, tools
from netkat.commands.demo.colour import Colourizer
from netkat.commands.demo.demo_report import as_data
from netkat.commands.demo.measure import VANTAGE_POINTS, ResultBlock, Row
from netkat.commands.demo.probes import Probe, ProbeResult
from netkat.commands.demo.table import WIDTH, heading, legend, table, via_table
from netkat.errors import SetupError

PLAIN = Colourizer(False)


def outcome(
    seat: tuple[str, str],
    answer: str,
    *,
    protocol: str = "tcp",
    reached: bool = True,
    via: str | None = None,
) -> ProbeResult:
    """``answer`` is a source address or the kind of a failure."""
    probe = Probe(*seat, protocol, via)
    if answer[0].isdigit():
        return ProbeResult(probe, "answer", answer, reached, "")
    return ProbeResult(probe, answer, None, reached, f"netkat: {answer}")


def row(choice: str, *answers: str, protocol: str = "tcp", via: str = "no answer") -> Row:
    """An answer that ends in * never got to the load balancer."""
    outcomes = tuple(
        outcome(seat, answer.rstrip("*"), protocol=protocol, reached="*" not in answer)
        for seat, answer in zip(VANTAGE_POINTS, answers, strict=True)
    )
    by_node = outcome(("node3", "netkat"), via, protocol=protocol, reached=False, via=choice)
    return Row(choice, protocol, outcomes, by_node)


LOCAL = ("no answer", "172.30.0.11*", "172.30.0.13*", "hairpin", "no answer")
OPEN = ("172.31.0.10", "172.30.0.11*", "172.30.0.13*", "172.30.0.11", "172.30.0.13")


def block(*rows: Row) -> ResultBlock:
    return ResultBlock("iptables", "Local", rows)


def both(choice: str, *answers: str, via: str = "no answer") -> list[Row]:
    return [row(choice, *answers, protocol=protocol, via=via) for protocol in ("tcp", "udp")]


def test_an_answer_that_the_client_does_not_get_is_wrong() -> None:
    line = table(block(*both("node1", *LOCAL)), "node2", PLAIN)[3]
    assert line.split("  ")[0] == "node1 (no pod)"
    assert line.count("WRONG") == 2
    assert "WRONG 172.30.0.11*" in line and "WRONG 172.30.0.13*" in line
    assert "hairpin" in line


def test_a_captured_answer_is_starred_where_the_client_gets_through() -> None:
    line = table(block(*both("node2", *OPEN)), "node2", PLAIN)[3]
    assert line.startswith("node2 (pod)")
    assert "WRONG" not in line
    assert line.count("*") == 2


def test_silence_where_the_client_gets_through_is_wrong_too() -> None:
    answers = [*OPEN[:4], "no answer"]
    assert table(block(*both("node2", *answers)), "node2", PLAIN)[3].endswith("WRONG no answer")


def test_a_hairpin_is_neither_right_nor_wrong() -> None:
    hairpin = row("node1", *OPEN[:3], "hairpin", "172.30.0.13")
    assert not hairpin.wrong(hairpin.outcomes[3])


def test_protocols_that_differ_get_a_line_each() -> None:
    rows = [
        row("node1", *LOCAL),
        row("node1", *LOCAL[:3], "no answer", "no answer", protocol="udp"),
    ]
    lines = table(block(*rows), "node2", PLAIN)
    assert lines[3].startswith("node1 (no pod)") and "hairpin" in lines[3]
    assert lines[4].startswith("  53/udp") and "hairpin" not in lines[4]


def test_the_title_says_what_became_of_the_clients_address() -> None:
    assert "preserved" in table(block(row("node2", *OPEN)), "node2", PLAIN)[0]
    assert "rewritten" in table(block(row("node2", "10.244.2.1", *OPEN[1:])), "node2", PLAIN)[0]
    silent = table(block(row("node1", *LOCAL)), "node2", PLAIN)[0]
    assert "preserved" not in silent and "rewritten" not in silent


def test_an_error_shows_the_tools_own_words_once() -> None:
    rows = both("node1", *LOCAL[:3], "error", "error")
    lines = table(block(*rows), "node2", PLAIN)
    told = [line for line in lines if "netkat: error" in line]
    assert len(told) == 1
    assert "node1" in told[0] and "3 more" in told[0]


def test_via_says_whether_the_source_was_preserved() -> None:
    rows = [*both("node1", *LOCAL), *both("node2", *OPEN, via="172.30.0.13")]
    rewritten = ResultBlock("nftables", "Cluster", tuple(both("node2", *OPEN, via="10.244.2.1")))
    text = "\n".join(via_table([block(*rows), rewritten], "node2", PLAIN))
    assert "no answer" in text
    assert "172.30.0.13 preserved" in text
    assert "10.244.2.1 rewritten" in text
    assert "saw 0 of these 6 probes" in text


def test_via_marks_what_the_client_did_not_get() -> None:
    text = "\n".join(via_table([block(*both("node1", *LOCAL, via="172.30.0.13"))], "node2", PLAIN))
    assert "WRONG 172.30.0.13 preserved" in text


def test_the_tally_counts() -> None:
    blocks = [block(*both("node1", *LOCAL), *both("node2", *OPEN, via="172.30.0.13"))]
    kernel, netkat = legend(blocks, 1.0, PLAIN)[-3:-1]
    assert "8 probes, 4 wrong, 8 never got" in kernel
    assert "12 probes, 0 wrong, 2 hairpins" in netkat


def test_nothing_is_wider_than_a_hundred_columns() -> None:
    rows = [*both("node1", *LOCAL), *both("node2", *OPEN, via="172.30.0.13")]
    blocks = [block(*rows)]
    lines = [
        *heading("node2", PLAIN),
        *table(blocks[0], "node2", PLAIN),
        *via_table(blocks, "node2", PLAIN),
        *legend(blocks, 29.9, PLAIN),
    ]
    assert max(map(len, lines)) <= WIDTH == 100


def test_colour_only_when_asked_and_without_moving_a_column() -> None:
    rows = [*both("node1", *LOCAL), *both("node2", *OPEN)]
    plain, painted = (table(block(*rows), "node2", Colourizer(colour)) for colour in (False, True))
    assert "\x1b" not in "".join(plain)
    assert "\x1b[1;31mWRONG 172.30.0.11*\x1b[0m" in painted[3]
    for style in ("", "1", "2", "32", "1;31", "33"):
        painted = [line.replace(f"\x1b[{style}m", "") for line in painted]
    assert [line.replace("\x1b[0m", "") for line in painted] == plain


def test_the_picture_follows_the_pod() -> None:
    lines = heading("node3", PLAIN)
    assert [line for line in lines if "── pod" in line] == [lines[4]]
    assert "node3 172.30.0.13 ── pod 10.244.2.2" in lines[4]


def test_json_has_one_flat_entry_a_probe() -> None:
    data = as_data([block(*both("node1", *LOCAL))], "node2", 1.26)
    assert data["pod"] == {"address": "10.244.2.2", "node": "node2"}
    assert data["seconds"] == 1.3
    assert len(data["cells"]) == 12
    captured = data["cells"][1]
    assert (captured["from"], captured["path"], captured["protocol"]) == ("node1", "kernel", "tcp")
    assert (captured["source"], captured["source_preserved"]) == ("172.30.0.11", True)
    assert captured["captured"] and captured["wrong"] and not captured["reached_load_balancer"]
    assert data["cells"][3]["outcome"] == "hairpin"
    assert data["cells"][3]["source_preserved"] is None


def test_a_terminal_without_utf8_gets_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show._print(heading("node2", PLAIN), out)
    out.seek(0)
    assert "load balancer 172.30.0.1 --+-- node1" in out.read()


def test_without_root_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="needs root") as refusal:
        demo.run()
    assert "\n" not in str(refusal.value)


def test_missing_tools_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(tools, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(SetupError, match="apt-get install iproute2 iptables netcat-openbsd nft"):
        demo.run()
