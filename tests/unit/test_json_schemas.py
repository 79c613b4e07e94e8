"""docs/json: one schema for each thing that --json prints. Those who print it are tested by it."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from tests.helpers.netns import ROOT
from tests.helpers.schemas import FOLDER, parsed

SCHEMAS = {path.name.removesuffix(".schema.json"): path for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_strict_and_has_a_version(name: str) -> None:
    schema = json.loads(SCHEMAS[name].read_text())
    assert schema["properties"]["version"] == {"const": 1}
    assert {"version", "command"} <= set(schema["required"])
    assert schema["additionalProperties"] is False
    with pytest.raises(jsonschema.ValidationError):
        parsed(name, '{"version": 1}')


def test_every_command_that_has_json_has_one() -> None:
    having = {
        path.stem
        for path in (ROOT / "netkat/cli").glob("*.py")
        if re.search(r'"--json",', path.read_text())
    }
    named = "".join(path.read_text() for path in SCHEMAS.values())
    declared = {"options_relay": "connect", "options_sniff": "sniff", "options_why": "why"}
    assert having
    for module in having:
        assert f"`netkat {declared.get(module, module)} --json`" in named, module
