"""How long ago, as people type it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from countersign.cli.moments import moment_of
from countersign.cli.surroundings import CommandFailedError
from countersign.clock import system_clock
from countersign.operations.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), (" 24h ", 86_400), ("7d", 604_800), ("3650d", 315_360_000)],
)
def test_what_is_meant(text: str, seconds: int) -> None:
    """A number and a letter."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0m", "10", "m", "-1h", "1.5h", "10M", "1w", "9" * 30 + "d", "999999999d", "3651d"]
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    """Whatever the number: nothing overflows."""
    with pytest.raises(ValueError, match="expected"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["999999999d", "0h", "9" * 30 + "d", "soon"])
def test_a_replay_names_its_option(text: str) -> None:
    """A time or so long ago."""
    with pytest.raises(CommandFailedError, match="--since"):
        moment_of(text, "--since")
    moment = moment_of("2h", "--since")
    assert moment is not None
    assert abs(system_clock() - moment - timedelta(hours=2)) < timedelta(minutes=1)
