"""Whether a world keeps the invariants of the design (section 10), as far as they can be seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.checks import access, leaks, texts, work
from tests.support.checks.view import View
from tests.support.checks.work import changes, rows_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.world import World

__all__ = ["CHECKS", "changes", "rows_gone", "violations"]

# 9 and 10 take two worlds (`changes`), or the same traffic in another order; 15 takes a server away.
CHECKS: Mapping[int, Callable[[View], Iterator[str]]] = {
    1: access.grants_are_earned,
    2: access.decisions_are_single,
    3: access.challenges_are_redeemed_once,
    4: access.tries_are_limited,
    5: texts.texts_leave_once,
    6: texts.claims_leave_time,
    7: texts.limits_hold,
    8: access.requests_come_to_an_end,
    11: leaks.nothing_leaks,
    12: access.expiry_is_kept,
    13: work.nothing_is_owed,
    14: texts.doubts_are_shown,
}


def violations(world: World) -> list[str]:
    """Return each violation behind the number of its invariant. The world has come to rest before."""
    view = View(world)
    return [f"{number}: {finding}" for number, check in CHECKS.items() for finding in check(view)]
