"""``netkat demo``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> int:
    """Build a small Kubernetes network in namespaces; compare client, nc and netkat."""
    from netkat.commands.demo import run

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return run(colour=colour, json=as_json)
