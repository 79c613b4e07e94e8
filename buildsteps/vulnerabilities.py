"""govulncheck, if Go's vulnerability database can be reached."""

from __future__ import annotations

import urllib.error
import urllib.request

from buildsteps.checks import CheckStep

DATABASE = "https://vuln.go.dev"
TOOL = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
_SECONDS = 10


def unreachable() -> str | None:
    """Return why the database cannot be reached, or None."""
    try:
        with urllib.request.urlopen(f"{DATABASE}/index/db.json", timeout=_SECONDS):
            return None
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"{DATABASE} cannot be reached [{reason}]"


def steps(go: str) -> list[CheckStep]:
    """Return the step that checks the library's code; none, with a line, if it cannot run."""
    if reason := unreachable():
        print(f"NOT CHECKED govulncheck: {reason}", flush=True)
        return []
    return [CheckStep("govulncheck", [go, "run", TOOL, "./gostack"])]
