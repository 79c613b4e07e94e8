"""Everything at once for ten minutes, while the network changes: tests/soak."""

from __future__ import annotations

import pytest

from tests.soak.__main__ import faults, soak

SECONDS = 600.0
CONNECTIONS = 10_000


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_soak_leaves_every_byte_whole_and_nothing_behind() -> None:
    result = soak(SECONDS, CONNECTIONS)
    assert faults(result, CONNECTIONS) == []
