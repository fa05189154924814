"""Reads the views `timeline` that the services publish. Each query finds its rows by an index of the owner's tables."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from countersign.timeline.story import BEGINNINGS, Step, Story

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    import asyncpg

READABLE = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = 'timeline' AND c.relkind = 'v' AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY n.nspname
"""
# Rows without a request are the notifier's, which knows a text's challenge alone. Two statements in one: an OR over
# both columns could use no index where a view joins the tables that they are of.
STEPS = """
SELECT request_id, challenge_id, account_id, user_id, at, what, detail::text AS detail FROM {schema}.timeline
 WHERE request_id = ANY($1::uuid[])
 UNION ALL
SELECT request_id, challenge_id, account_id, user_id, at, what, detail::text FROM {schema}.timeline
 WHERE request_id IS NULL AND challenge_id = ANY($2::uuid[])
"""
# Which request is whose challenge: by the request, and by the challenge.
CHALLENGES = """
SELECT request_id, challenge_id FROM {schema}.timeline WHERE what = 'challenged' AND request_id = ANY($1::uuid[])
"""
REQUESTS = """
SELECT request_id FROM {schema}.timeline
 WHERE what = 'challenged' AND request_id IS NOT NULL AND challenge_id = ANY($1::uuid[])
"""
# By when they began, so that an index of the owner gives the newest in order and the rest is not read.
RECENT = """
SELECT request_id, at FROM {schema}.timeline
 WHERE what IN ({beginnings}) AND request_id IS NOT NULL AND {column} = $1 AND at > now() - $2::interval
 ORDER BY at DESC LIMIT $3
"""
# What belongs to no request: settings that were changed, by whom.
CHANGES = """
SELECT request_id, challenge_id, account_id, user_id, at, what, detail::text AS detail FROM {schema}.timeline
 WHERE request_id IS NULL AND challenge_id IS NULL AND {column} = $1 AND at > now() - $2::interval
 ORDER BY at DESC LIMIT $3
"""
Whose = Literal["user", "account"]
_BEGINNINGS = ", ".join(f"'{what}'" for what in BEGINNINGS)
_COLUMNS = {"user": "user_id", "account": "account_id"}


class Timelines:
    """The views `timeline` of some schemas. The role of `db` may read them."""

    def __init__(self, db: asyncpg.Connection, schemas: Sequence[str]) -> None:
        self._db = db
        self._schemas = schemas

    @classmethod
    async def readable(cls, db: asyncpg.Connection) -> Timelines:
        """Return the views that this role may read."""
        return cls(db, [row["nspname"] for row in await db.fetch(READABLE)])

    @property
    def schemas(self) -> Sequence[str]:
        """Whose views are read."""
        return self._schemas

    async def story(self, any_id: UUID) -> Story:
        """Return the story of a request, by its id or its challenge's."""
        requests = {any_id}
        for schema in self._schemas:
            requests |= {row["request_id"] for row in await self._db.fetch(REQUESTS.format(schema=schema), [any_id])}
        return story_of(await self._steps(requests, {any_id, *await self._challenges(requests)}))

    async def stories(self, request_ids: Collection[UUID]) -> dict[UUID, Story]:
        """Return the story of each request that a service knows, in two queries a service however many there are."""
        request_of = await self._challenges(request_ids)
        steps: defaultdict[UUID | None, list[Step]] = defaultdict(list)
        for step in await self._steps(request_ids, request_of):
            named = step.challenge_id
            steps[step.request_id or (None if named is None else request_of[named])].append(step)
        return {request_id: story_of(steps[request_id]) for request_id in request_ids if request_id in steps}

    async def _challenges(self, request_ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Return the challenges of the requests, each with its request."""
        found: dict[UUID, UUID] = {}
        for schema in self._schemas:
            rows = await self._db.fetch(CHALLENGES.format(schema=schema), list(request_ids))
            found |= {row["challenge_id"]: row["request_id"] for row in rows}
        return found

    async def _steps(self, request_ids: Collection[UUID], challenge_ids: Collection[UUID]) -> list[Step]:
        steps: list[Step] = []
        for schema in self._schemas:
            rows = await self._db.fetch(STEPS.format(schema=schema), list(request_ids), list(challenge_ids))
            steps += _steps(schema, rows)
        return steps

    async def changes(self, of: Whose, id_: UUID, within: timedelta, most: int) -> Story:
        """Return the latest changes of a user's or an account's settings."""
        steps: list[Step] = []
        for schema in self._schemas:
            query = CHANGES.format(schema=schema, column=_COLUMNS[of])
            steps += _steps(schema, await self._db.fetch(query, id_, within, most))
        return Story(story_of(steps).steps[-most:])

    async def recent(self, of: Whose, id_: UUID, within: timedelta, most: int) -> list[UUID]:
        """Return the latest requests of a user or an account, by when they began, the newest first."""
        began: dict[UUID, datetime] = {}
        for schema in self._schemas:
            query = RECENT.format(schema=schema, beginnings=_BEGINNINGS, column=_COLUMNS[of])
            for row in await self._db.fetch(query, id_, within, most):
                began[row["request_id"]] = min(row["at"], began.get(row["request_id"], row["at"]))
        return sorted(began, key=lambda one: began[one], reverse=True)[:most]


def story_of(steps: Iterable[Step]) -> Story:
    """Return the steps in the order in which they happened."""
    return Story(tuple(sorted(steps, key=lambda step: step.at)))


def _steps(schema: str, rows: Sequence[asyncpg.Record]) -> list[Step]:
    return [Step(service=schema, **{**dict(row), "detail": json.loads(row["detail"])}) for row in rows]
