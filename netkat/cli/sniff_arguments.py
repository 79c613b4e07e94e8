"""Parse sniff's arguments into SniffOptions. Each error names the accepted values."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from netkat.capture import linktype as lt
from netkat.capture.capture_options import DEFAULT_BUFFER, HOLD_MS, CaptureOptions
from netkat.capture.capture_writer import Rotation
from netkat.capture.text.context import Style
from netkat.cli.options_netns import namespace
from netkat.commands.sniff.sniff_options import SniffOptions
from netkat.errors import BadArgument

_MAX_SNAPLEN = 262144
_UNITS = {"": 1_000_000, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def sniff_options(given: dict[str, Any]) -> SniffOptions:
    """Return all options of the command line. Errors: BadArgument."""
    _check(given)
    netns = place(given)
    writes = given["write"] is not None
    shows = not writes or given["show"]
    return SniffOptions(
        capture=_capture_options(given, shows, netns),
        style=_style(given),
        read=given["read"],
        write=given["write"],
        rotation=_rotation(given),
        nanosecond_file=_nano(given),
        show=shows,
        json=given["json"],
        stats=given["stats"],
        only_count=given["only_count"],
        count=_number(given["count"], "-c", 1, 1 << 62) if given["count"] else 0,
        drops=given["drops"],
        netns=netns,
        user=given["user"],
    )


def place(given: dict[str, Any]) -> str | int | None:
    """Return the namespace of --netns, --pod or --container. Errors: BadArgument, SetupError."""
    return namespace(given["netns"], given["pod"], given["container"])


def _check(given: dict[str, Any]) -> None:
    if given["read"] is not None:
        for name, letter in (
            ("interface", "-i"),
            ("drops", "--drops"),
            ("netns", "--netns"),
            ("pod", "--pod"),
            ("container", "--container"),
            ("user", "-Z"),
        ):
            if given[name]:
                raise BadArgument(f"{letter} cannot be used with -r")
    if given["write"] is None:
        for name, letter in (
            ("rotate_size", "-C"),
            ("rotate_seconds", "-G"),
            ("rotate_files", "-W"),
        ):
            if given[name] is not None:
                raise BadArgument(f"{letter} requires -w")
    if given["rotate_files"] is not None and not (given["rotate_size"] or given["rotate_seconds"]):
        raise BadArgument("-W requires -C or -G")
    if given["write"] == "-" and (given["show"] or given["json"] or given["stats"]):
        raise BadArgument(
            "-w - cannot be used with --print, --json or --stats: all write to stdout"
        )
    if given["json"] and given["stats"]:
        raise BadArgument("--json and --stats cannot be used together")
    if given["only_count"] and given["read"] is None:
        raise BadArgument("--count requires -r")


def _capture_options(given: dict[str, Any], shows: bool, netns: str | int | None) -> CaptureOptions:
    snaplen = _number(given["snaplen"], "-s", 0, _MAX_SNAPLEN) if given["snaplen"] else 0
    if given["immediate"]:
        hold = 1
    elif shows or given["packet_buffered"]:
        hold = HOLD_MS
    else:
        # Only a file is written: fuller blocks cost less CPU time.
        hold = 100
    linktype = None
    if given["linktype"] is not None:
        linktype = lt.by_name(given["linktype"])
        if linktype is None:
            raise BadArgument(
                f"-y: invalid link type {given['linktype']!r}", hint="use EN10MB or LINUX_SLL2"
            )
    buffer = DEFAULT_BUFFER
    if given["buffer"] is not None:
        buffer = _number(given["buffer"], "-B", 1, 4 << 20) << 10
    direction = given["direction"] or "inout"
    if direction not in ("in", "out", "inout"):
        raise BadArgument(f"-Q: invalid direction {direction!r} (in, out or inout)")
    return CaptureOptions(
        interfaces=_interfaces(given, netns),
        filter_text=_filter(given),
        direction=direction,
        promiscuous=not given["no_promiscuous"],
        snaplen=snaplen or _MAX_SNAPLEN,
        buffer=buffer,
        hold_ms=hold,
        optimize=not given["no_optimizer"],
        linktype=linktype,
    )


def _interfaces(given: dict[str, Any], netns: str | int | None) -> tuple[str, ...]:
    if given["read"] is not None:
        return ()
    from netkat.capture.interface_list import select_interfaces

    words = [word for text in given["interface"] or () for word in text.split(",")]
    return select_interfaces(words, netns)


def _filter(given: dict[str, Any]) -> str:
    words = " ".join(given["expression"] or ())
    if given["filter_file"] is None:
        return words
    if words:
        raise BadArgument("-F cannot be used with a filter on the command line")
    try:
        with open(given["filter_file"], encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadArgument(f"-F {given['filter_file']}: {reason}") from None


def _style(given: dict[str, Any]) -> Style:
    dump = ""
    for name, letter in (("hexadecimal", "x"), ("hex_ascii", "X")):
        dump = letter * min(given[name], 2) or dump
    if given["ascii_only"] and not dump:
        dump = "A"
    if given["stamp"] > 5:
        raise BadArgument("-t can be given at most five times")
    return Style(
        stamp=given["stamp"],
        nanoseconds=_nano(given),
        numeric=bool(given["numeric"]),
        verbose=given["verbose"],
        quiet=given["quiet"],
        link=given["link"],
        absolute=given["absolute"],
        checksums=not given["no_checksums"],
        number=given["number"],
        dump=dump,
        color=_color(),
        interface=_several(given),
    )


def _several(given: dict[str, Any]) -> bool:
    return sum(len(text.split(",")) for text in given["interface"] or ()) > 1


def _color() -> bool:
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def _nano(given: dict[str, Any]) -> bool:
    precision = given["precision"]
    if precision not in (None, "micro", "nano"):
        raise BadArgument(f"--time-stamp-precision: invalid value {precision!r} (micro or nano)")
    if given["micro"] and (given["nano"] or precision == "nano"):
        raise BadArgument("--micro and --nano cannot be used together")
    return bool(given["nano"]) or precision == "nano"


def _rotation(given: dict[str, Any]) -> Rotation:
    size = 0
    if given["rotate_size"] is not None:
        match = re.fullmatch(r"([0-9]{1,9})([kKmMgG]?)", given["rotate_size"])
        if match is None or not int(match[1]):
            raise BadArgument(
                f"-C: invalid size {given['rotate_size']!r}",
                hint="use a number such as 10, 500k or 1g",
            )
        size = int(match[1]) * _UNITS[match[2].lower()]
    return Rotation(
        size=size,
        seconds=_number(given["rotate_seconds"], "-G", 1, 1 << 31)
        if given["rotate_seconds"]
        else 0,
        files=_number(given["rotate_files"], "-W", 1, 1 << 31) if given["rotate_files"] else 0,
    )


def _number(word: str, option: str, least: int, most: int) -> int:
    if not (word.isascii() and word.isdigit()) or not least <= int(word[:20]) <= most:
        raise BadArgument(f"{option}: invalid number {word!r} ({least} to {most})")
    return int(word)
