"""What other programs rely on: the ABI, JSON schemas, options, exit codes.

`python -m tests.packaging.contract` writes the fixture, after a change on purpose.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from buildsteps import manual, toolchain

FIXTURE = Path(__file__).with_name("contract.json")


def current() -> dict[str, Any]:
    """Return the contract of this tree."""
    header = (toolchain.ROOT / "gostack" / "gostack.h").read_text()
    found = re.search(r"#define GS_ABI (\d+)", header)
    assert found
    return {
        "abi": int(found[1]),
        "exit_codes": exit_codes(),
        "exit_status_texts": manual._EXIT,
        "options": options(),
        "schemas": {path.name: schema(path) for path in schemas()},
    }


def exit_codes() -> dict[str, int]:
    """Return the exit code of each error."""
    from netkat import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.__name__: kind.exit_code for kind in kinds if issubclass(kind, errors.NetkatError)}


def options() -> dict[str, list[str]]:
    """Return each command's options and arguments."""
    from typer import Context
    from typer.main import get_command

    from netkat.cli.command_group import app

    root: Any = get_command(app)
    context = Context(root, info_name="netkat", **root.context_settings)
    commands = {"": root, **root.commands}
    return {
        name: sorted(
            word
            for parameter in command.get_params(context)
            for word in ([*parameter.opts, *parameter.secondary_opts])
        )
        for name, command in commands.items()
    }


def schemas() -> list[Path]:
    """Return the files of docs/json."""
    return sorted((toolchain.ROOT / "docs" / "json").glob("*.schema.json"))


def schema(path: Path) -> dict[str, Any]:
    """Return a schema's version, required fields, and the names of all fields."""
    read = json.loads(path.read_text())
    properties = read.get("properties", {})
    return {
        "fields": sorted(properties),
        "required": sorted(read.get("required", [])),
        "version": properties.get("version", {}).get("const"),
    }


if __name__ == "__main__":
    FIXTURE.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")
    print(f"wrote {FIXTURE.name}")
