"""How many statements a text and a notice cost, and that many together cost no more than one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import wraps
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.support.events import a_two_factor_enabled
from tests.support.notices import settled, tell

if TYPE_CHECKING:
    from tests.support.notifier import Neighbourhood

pytestmark = pytest.mark.servers

_CALLS = ("execute", "executemany", "fetch", "fetchval", "fetchrow")


class Said:
    """What each task said to PostgreSQL between two checkpoints: one entry a round trip."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._said: defaultdict[Any, list[str]] = defaultdict(list)
        self.before: defaultdict[str, list[list[str]]] = defaultdict(list)
        for name in _CALLS:
            monkeypatch.setattr(asyncpg.Connection, name, self._noting(getattr(asyncpg.Connection, name)))

    def _noting(self, call: Any) -> Any:
        @wraps(call)
        async def noting(connection: Any, query: str, *arguments: Any, **named: Any) -> Any:
            if not query.startswith("DISCARD"):  # of plans, once in ten seconds
                self._said[asyncio.current_task()].append(query.strip())
            return await call(connection, query, *arguments, **named)

        return noting

    async def __call__(self, point: str) -> None:
        """Keep what the task said since its last checkpoint."""
        self.before[point].append(self._said.pop(asyncio.current_task(), []))

    def claims(self, due: str) -> list[int]:
        """Return the round trips of each look that claimed something; looks before it found nothing."""
        begins = [max(n for n, said in enumerate(one) if said == "BEGIN;") for one in self.before[f"{due}.claimed"]]
        return [len(one) - begin for one, begin in zip(self.before[f"{due}.claimed"], begins, strict=True)]

    def counts(self, point: str) -> list[int]:
        """Return how many round trips there were before each time that a task came to this point."""
        return [len(one) for one in self.before[point]]


async def test_a_text_costs_ten_statements_and_so_do_many(near: Neighbourhood, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two for its fold, seven for its claim, one for its end; the event of the end is kept by the same statement."""
    said = Said(monkeypatch)
    alone, many = near.challenge(await near.person()), [near.challenge(await near.person()) for _ in range(30)]
    async with near.notifier(checkpoint=said):
        await near.issue(alone)
        await near.settled(alone)
        await near.issue(*many)
        await near.settled(*many)
        assert len(await near.deliveries(alone, *many)) == 31
    assert set(said.counts("decided")) == set(said.counts("committed")) == {1}
    assert set(said.claims("texts")) == {7}
    assert set(said.counts("texts.settled")) == {1}


async def test_notices_are_claimed_together(near: Neighbourhood, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a second share a look, and a look costs no more for ten of them."""
    said = Said(monkeypatch)
    first = await near.person()
    for _ in range(9):
        await near.person(account_id=first.account_id)
    async with near.notifier(checkpoint=said, sns=near.settings().sns.model_copy(update={"per_second": 1_000})):
        await tell(near, a_two_factor_enabled(account_id=first.account_id))
        await settled(near, first.account_id, 10)
    assert said.claims("notices") == [9]
    assert set(said.counts("notices.settled")) == {1}
