"""When the brake holds a partition, from both sides of each bound."""

from __future__ import annotations

import pytest

from countersign.runtime.folding.brake import Tally


def _told(keys: list[bytes | None]) -> str | None:
    tally = Tally()
    reason = None
    for key in keys:
        if key is None:
            tally.folded(1)
        else:
            reason = tally.failed(key) or reason
    return reason


@pytest.mark.parametrize(
    ("keys", "held"),
    [
        ([b"a", b"b", b"c"] * 6 + [b"a", b"b"], False),  # 20
        ([b"a", b"b", b"c"] * 7, True),  # 21
        ([b"a", b"b"] * 100, False),  # two keys are two accounts' own trouble
        ([b"a"] * 1000, False),
        ([b"a", None, b"b", None, b"c", None] * 20, True),
        (([b"a", *[None] * 6, b"b", *[None] * 6, b"c", *[None] * 6]) * 50, False),  # 1 in 7: 15 of 100
        ([b"a", b"b", b"c"] * 6 + [None] * 100 + [b"a", b"b", b"c"] * 6, False),  # the first 18 are out of the window
    ],
)
def test_the_brake_counts_bugs_of_several_accounts(keys: list[bytes | None], held: bool) -> None:
    """More than 20 of the last 100, of at least three keys."""
    assert (_told(keys) is not None) is held
