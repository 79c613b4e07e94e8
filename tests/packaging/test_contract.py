"""An upgrade keeps what other programs rely on, or changes it on purpose (RELEASING.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.packaging import contract

KEPT: dict[str, Any] = json.loads(contract.FIXTURE.read_text())


@pytest.fixture(scope="module")
def current() -> dict[str, Any]:
    return contract.current()


def test_abi_number_is_that_of_the_fixture(current: dict[str, Any]) -> None:
    assert current["abi"] == KEPT["abi"]


@pytest.mark.parametrize("command", KEPT["options"])
def test_no_option_is_removed(command: str, current: dict[str, Any]) -> None:
    assert set(KEPT["options"][command]) <= set(current["options"].get(command, []))


def test_no_exit_code_changes(current: dict[str, Any]) -> None:
    assert {**current["exit_codes"], **KEPT["exit_codes"]} == current["exit_codes"]
    assert set(KEPT["exit_status_texts"]) <= set(current["exit_status_texts"])


@pytest.mark.parametrize("name", KEPT["schemas"])
def test_no_schema_field_is_removed_within_a_version(name: str, current: dict[str, Any]) -> None:
    kept, now = KEPT["schemas"][name], current["schemas"][name]
    assert now["version"] == kept["version"]
    assert set(kept["fields"]) <= set(now["fields"])
    assert set(kept["required"]) <= set(now["required"])
