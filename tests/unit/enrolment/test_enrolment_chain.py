"""The audit chain: whole as written, broken by any change of a row, a removed one, an added one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from countersign.contract import Actor
from services.enrolment.chain import FIRST_HEAD, Link, broken_at, chained
from services.enrolment.model import Change

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ACCOUNT = uuid4()


def a_change(**over: Any) -> Change:
    fields: dict[str, Any] = {
        "kind": "two_factor.disabled",
        "account_id": ACCOUNT,
        "actor": Actor(kind="account_manager", id=str(uuid4())),
        "reason": "asked by telephone",
        "ticket": "SUP-1042",
    }
    return Change(**(fields | over))


def a_chain() -> list[Link]:
    first = chained(FIRST_HEAD, 0, [a_change(kind="two_factor.enabled"), a_change(user_id=uuid4())], NOON)
    return first + chained(first[-1].head, first[-1].version, [a_change(place="203.0.113.7/32")], NOON)


def test_an_untouched_chain_is_whole() -> None:
    """Versions count up without a gap, over several transactions; the time's zone is no part of it."""
    chain = a_chain()
    assert [link.version for link in chain] == [1, 2, 3]
    assert broken_at(chain) is None
    assert broken_at([]) is None
    east = timezone(timedelta(hours=9))
    assert broken_at([replace(link, at=link.at.astimezone(east)) for link in chain]) is None


@pytest.mark.parametrize(
    "over",
    [
        {"kind": "two_factor.enabled"},
        {"account_id": uuid4()},
        {"actor": Actor(kind="user", id="somebody else")},
        {"user_id": None},
        {"reason": None},
        {"ticket": "SUP-1"},
        {"number_id": uuid4()},
        {"old_number_id": uuid4()},
        {"place": "203.0.113.8/32"},
    ],
)
def test_any_field_changed_afterwards_breaks_it_there(over: dict[str, Any]) -> None:
    """Whoever rewrites why must rewrite every later head, and those are on the topic."""
    chain = a_chain()
    chain[1] = replace(chain[1], change=replace(chain[1].change, **over))
    assert broken_at(chain) == 2


def test_a_row_taken_away_added_or_moved_in_time_breaks_it() -> None:
    """At the first version that is not what it should be."""
    chain = a_chain()
    assert broken_at(chain[1:]) == 1
    assert broken_at([chain[0], chain[2]]) == 2
    assert broken_at([*chain, replace(chain[2], version=4)]) == 4
    assert broken_at([replace(chain[0], at=NOON + timedelta(microseconds=1)), *chain[1:]]) == 1
