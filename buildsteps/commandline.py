"""The command line for people."""

from __future__ import annotations

import argparse
import sys

from buildsteps import native
from buildsteps.toolchain import CannotBuild


def main(arguments: list[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python3 build.py")
    parser.add_argument("command", choices=["build"])
    parser.parse_args(arguments)
    try:
        made = native.build()
    except CannotBuild as error:
        print(f"netkat: {error}", file=sys.stderr)
        return 2
    print("made " + ", ".join(made) if made else "everything is up to date")
    return 0
