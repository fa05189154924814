"""Each fault that reviews found in the runtime is found by the simulator as well, once it is put back."""

from __future__ import annotations

import pytest

from tests.sim.planted.every import PLANTED
from tests.sim.simulated import findings, simulated


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", PLANTED)
def test_a_fault_that_was_put_back_is_found(number: str) -> None:
    """Within 60 s of a core's work, and as what it is."""
    ran = simulated("--planted", number, "--seconds", "60")
    found = findings(ran)
    assert found, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert found[0].startswith(PLANTED[number].finding), found
