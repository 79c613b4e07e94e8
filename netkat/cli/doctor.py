"""``netkat doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from netkat.cli import options_shared, parse

if TYPE_CHECKING:
    from netkat.diagnose.check_result import CheckResult

VERSION = 1
"""Of docs/json/doctor.schema.json."""


def doctor(
    interface: options_shared.Interface = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Check whether netkat works on this host and suggest fixes; exit 1 if it cannot work.

    Attaches the guard to the interface (-i, or the default route's) and detaches it again.
    Sends no packets.
    """
    import json
    from dataclasses import asdict

    from netkat.diagnose.host_checks import examine

    findings = examine(None if interface is None else parse.interface(interface))
    works = not any(finding.blocks for finding in findings)
    if as_json:
        result = {"version": VERSION, "command": "doctor", "ok": works}
        print(json.dumps({**result, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(findings, works)
    return 0 if works else 1


def _print(findings: list[CheckResult], works: bool) -> None:
    from netkat.cli.console import escape_controls

    width = max(len(finding.title) for finding in findings)
    for finding in findings:
        mark = "ok  " if finding.ok else "FAIL" if finding.required else "note"
        print(f"{mark}  {finding.title:{width}}  {escape_controls(finding.detail)}")
        if finding.fix is not None:
            print(f"      {'':{width}}  fix: {escape_controls(finding.fix)}")
    print(
        "Result: netkat can connect on this host."
        if works
        else "Result: netkat cannot connect on this host."
    )
