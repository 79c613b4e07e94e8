"""The network changes under programs that run: netkat's connections resume when the kernel's do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.network_changes.run import running
from tests.helpers.network_changes.scenarios import BEFORE, BOTH, IPV6, Scenario


def cases() -> Iterator[Any]:
    """Each scenario with every form, quickly with one IP version, slowly with the other."""
    for number, scenario in enumerate(BOTH):
        for version in (4, 6):
            quick = (version == 4) == (number % 2 == 0)
            marks = () if quick else (pytest.mark.slow,)
            yield pytest.param(scenario, version, id=f"{scenario.__name__}-{version}", marks=marks)
    for scenario in IPV6:
        yield pytest.param(scenario, 6, id=scenario.__name__)


@pytest.mark.parametrize(("scenario", "version"), list(cases()))
def test_network_change(scenario: Scenario, version: int) -> None:
    with running(version, BEFORE.get(scenario)) as run:
        scenario(run)
        run.stop()
        print(f"seconds until resumed: {run.times}")
        assert not run.faults, "\n".join(run.faults)
