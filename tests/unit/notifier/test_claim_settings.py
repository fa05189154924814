"""A claim's time is a setting, within bounds that keep a text from being sent while it is in doubt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.notifier.settings import PUBLISH_SECONDS_MAX, ClaimSettings


def _claim(good_for: float, settled_within: float) -> ClaimSettings:
    return ClaimSettings(good_for=timedelta(seconds=good_for), settled_within=timedelta(seconds=settled_within))


def test_as_shipped() -> None:
    """Decision 8."""
    assert _claim(10, 30) == ClaimSettings()


@pytest.mark.parametrize(("good_for", "settled_within"), [(1, 11), (3, 13), (10, 20), (10, 60)])
def test_within_the_bounds(good_for: float, settled_within: float) -> None:
    """A publish that begins at the last moment is over before the doubt begins."""
    claim = _claim(good_for, settled_within)
    assert claim.good_for + timedelta(seconds=PUBLISH_SECONDS_MAX) < claim.settled_within


@pytest.mark.parametrize(
    ("good_for", "settled_within"), [(0.9, 30), (10.1, 30), (1, 10.9), (10, 60.1), (2, 11.9), (3, 12), (10, 19.9)]
)
def test_beyond_the_bounds(good_for: float, settled_within: float) -> None:
    """Each bound, and their distance, from the other side."""
    with pytest.raises(ValidationError):
        _claim(good_for, settled_within)
