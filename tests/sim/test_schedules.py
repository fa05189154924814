"""Every invariant holds in every schedule; a seed is always the same schedule, with the same end."""

from __future__ import annotations

import pytest

from tests.sim.schedules import draw
from tests.sim.simulated import findings, simulated


@pytest.mark.timeout(1200)
def test_the_invariants_hold() -> None:
    """For 60 s of a core's work."""
    ran = simulated("--seconds", "60")
    assert (ran.returncode, findings(ran)) == (0, []), ran.stdout[-6000:] + ran.stderr[-2000:]


@pytest.mark.faults_whole
@pytest.mark.timeout(6000)
def test_the_invariants_hold_for_long() -> None:
    """For ten minutes of two cores, from other seeds."""
    ran = simulated("--seconds", "600", "--jobs", "2", "--first", "1000000")
    assert (ran.returncode, findings(ran)) == (0, []), ran.stdout[-6000:] + ran.stderr[-2000:]


def test_a_seed_is_one_schedule() -> None:
    """Drawn again it is the same, and others are others."""
    assert [draw(seed) for seed in range(50)] == [draw(seed) for seed in range(50)]
    assert len({draw(seed).steps for seed in range(50)}) == 50


def test_a_seed_replays_exactly() -> None:
    """Line by line, in a process of its own: also what is drawn before somebody tries again."""
    for seed in ("1", "4", "11"):
        once, again = (simulated("--seed", seed) for _ in range(2))
        assert len(once.stdout.splitlines()) > 30
        assert once.stdout == again.stdout


@pytest.mark.timeout(600)
def test_a_failing_seed_replays_exactly() -> None:
    """Its trace is the same, line by line; shrunk it fails in the same way with fewer steps."""
    first = simulated("--planted", "7", "--seconds", "60")
    seed = next(line.split()[1].rstrip(":") for line in first.stdout.splitlines() if line.startswith("seed "))
    once, again = (simulated("--planted", "7", "--seed", seed) for _ in range(2))
    assert findings(once) == findings(first)
    assert once.stdout == again.stdout
    shrunk = simulated("--planted", "7", "--seed", seed, "--shrink")
    assert [one.partition(":")[0] for one in findings(shrunk)] == [one.partition(":")[0] for one in findings(once)]
    assert len(shrunk.stdout.splitlines()) <= len(once.stdout.splitlines())
