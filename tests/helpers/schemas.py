"""docs/json, as tests use it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from tests.helpers.netns import ROOT

FOLDER = ROOT / "docs/json"


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def parsed(name: str, text: str | bytes) -> dict[str, Any]:
    """An object as docs/json/NAME.schema.json has it. Errors: ValidationError."""
    found: dict[str, Any] = json.loads(text)
    _validator(name).validate(found)
    return found
