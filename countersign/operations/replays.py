"""Replays of every service: begun from a plan, looked at, paused, resumed, aborted. Each deed has a row of its own."""

# ruff: noqa: S608 - schemas are names of our own services, everything else is a parameter

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg

from countersign.operations import journal
from countersign.operations.letters import SERVICES
from countersign.runtime.replay.journal import LOCKS
from countersign.runtime.replay.plan import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from countersign.runtime.replay.plan import Plan

BEGIN = """
INSERT INTO {schema}.replay (replay_id, plan_hash, plan, topic, rate, operation_id)
VALUES ($1, $2, $3::jsonb, $4, $5, $6)
"""
PLACES = """
INSERT INTO {schema}.replay_partition (replay_id, partition, next_offset, end_offset)
SELECT $1, partition, first, "end" FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS p (partition, first, "end")
"""
BEGUN = "SELECT replay_id, state FROM {schema}.replay WHERE plan_hash = $1"
RUNNING = "SELECT replay_id FROM {schema}.replay WHERE topic = $1 AND state = 'running'"
HELD = """
EXISTS (SELECT FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.classid::bigint = {lock} AND l.objsubid = 2 AND l.granted
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND l.objid::bigint = (hashtext(replay_id::text)::bigint & 4294967295))
""".replace("{lock}", str(LOCKS))
ONE = f"SELECT state, operation_id, {HELD} AS held FROM {{schema}}.replay WHERE replay_id = $1 FOR UPDATE"
CHANGE = """
UPDATE {schema}.replay SET state = $2, cause = NULL, operation_id = coalesce($3, operation_id), changed_at = now()
 WHERE replay_id = $1
"""
CLOSE = """
UPDATE {schema}.operation SET ended_at = now(), outcome = $2::jsonb WHERE operation_id = $1 AND ended_at IS NULL
"""
LIST = f"""
SELECT r.replay_id, r.topic, r.state, r.cause, r.rate, r.effects::text AS effects, r.began_at, r.changed_at,
       o.who, o.reason, {HELD.replace("replay_id", "r.replay_id")} AS held,
       (SELECT coalesce(sum(p.records), 0)::bigint FROM {{schema}}.replay_partition p WHERE p.replay_id = r.replay_id)
         AS records,
       (SELECT coalesce(sum((one ->> 'records')::bigint), 0)::bigint
          FROM jsonb_array_elements(r.plan -> 'ranges') AS one) AS planned
  FROM {{schema}}.replay r JOIN {{schema}}.operation o USING (operation_id)
 WHERE $1::uuid IS NULL OR r.replay_id = $1
 ORDER BY r.began_at DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A replay as it stands. `state` is that of its row, or `interrupted`: it should run and no process does."""

    service: str
    replay_id: UUID
    topic: str
    state: str
    cause: str | None
    records: int
    planned: int
    effects: Mapping[str, int]
    rate: float
    who: str
    reason: str
    began_at: datetime
    changed_at: datetime


async def listed(
    db: asyncpg.Connection, services: Sequence[str] = SERVICES, replay_id: UUID | None = None, most: int = 20
) -> list[Status]:
    """Return the newest replays of these services, or the one with that id."""
    found = []
    for service in services:
        rows = await db.fetch(LIST.format(schema=service), replay_id, most)
        found += [_status(service, dict(row)) for row in rows]
    return sorted(found, key=lambda one: one.began_at, reverse=True)[:most]


class Replays:
    """Begins and steers the replays of one service, in somebody's name and for a reason."""

    def __init__(self, db: asyncpg.Connection, service: str, by: str, reason: str) -> None:
        if service not in SERVICES:  # it becomes the name of a schema, and plans are files that people may write
            raise ValueError(f"no such service; there are {', '.join(SERVICES)}")
        self._db = db
        self._service = service
        self._by = by
        self._reason = reason

    async def begin(self, plan: Plan, rate: float) -> UUID:
        """Keep a replay that is to run, and return its id. A plan is begun once; a topic has one replay at a time.

        Raises PlanError.
        """
        plan.require_harmless()
        plan.require_fresh(await self._db.fetchval("SELECT now()"))
        replay_id = uuid4()
        asked = plan.asked.model_dump(mode="json", exclude_none=True)
        planned = {"replay_id": str(replay_id), "plan": plan.hash, "asked": asked, **plan.found.allowance()}
        operation_id = await journal.begin(self._db, self._service, "replay run", self._by, self._reason, planned)
        try:
            await self._insert(replay_id, plan, rate, operation_id)
        except asyncpg.UniqueViolationError:
            refused = await self._refusal(plan)
            await self._close(operation_id, {"refused": refused})
            raise PlanError(refused) from None
        return replay_id

    async def resume(self, replay_id: UUID) -> None:
        """Let a replay go on that was paused, stopped or interrupted. Raises PlanError."""
        operation_id = await self._begin("replay resume", replay_id)
        try:
            async with self._db.transaction():
                row = await self._one(replay_id, ("paused", "stopped", "running"), free=True)
                await self._close(row["operation_id"], {"state": "interrupted"})
                await self._db.execute(self._sql(CHANGE), replay_id, "running", operation_id)
        except asyncpg.UniqueViolationError:
            await self._close(operation_id, {"refused": "another replay of the topic is running"})
            raise PlanError("another replay of this topic is running or was interrupted: end it first") from None
        except PlanError as reason:
            await self._close(operation_id, {"refused": str(reason)})
            raise

    async def pause(self, replay_id: UUID) -> None:
        """Let a running replay end after the batch in hand; it can be resumed. Raises PlanError."""
        await self._end("replay pause", replay_id, ("running",), "paused")

    async def abort(self, replay_id: UUID) -> None:
        """End a replay for good after the batch in hand. What was done stays done. Raises PlanError."""
        await self._end("replay abort", replay_id, ("running", "paused", "stopped"), "aborted")

    async def _end(self, command: str, replay_id: UUID, states: Sequence[str], state: str) -> None:
        operation_id = await self._begin(command, replay_id)
        try:
            async with self._db.transaction():
                row = await self._one(replay_id, states)
                (status,) = await listed(self._db, [self._service], replay_id)
                outcome = {"state": state, "records": status.records, "effects": status.effects}
                await self._db.execute(self._sql(CHANGE), replay_id, state, None)
                await self._close(row["operation_id"], outcome)
                await self._close(operation_id, outcome)
        except PlanError as reason:
            await self._close(operation_id, {"refused": str(reason)})
            raise

    async def _begin(self, command: str, replay_id: UUID) -> UUID:
        planned = {"replay_id": str(replay_id)}
        return await journal.begin(self._db, self._service, command, self._by, self._reason, planned)

    async def _insert(self, replay_id: UUID, plan: Plan, rate: float, operation_id: UUID) -> None:
        async with self._db.transaction():
            row = (replay_id, plan.hash, plan.model_dump_json(), plan.asked.topic, rate, operation_id)
            await self._db.execute(self._sql(BEGIN), *row)
            columns = zip(*((one.partition, one.first, one.end) for one in plan.ranges), strict=True)
            if plan.ranges:
                await self._db.execute(self._sql(PLACES), replay_id, *(list(column) for column in columns))

    async def _refusal(self, plan: Plan) -> str:
        row = await self._db.fetchrow(self._sql(BEGUN), plan.hash)
        if row is not None:
            return (
                f"the plan was begun before, as replay {row['replay_id']}, which is {row['state']}: a plan is run once"
            )
        running = await self._db.fetchval(self._sql(RUNNING), plan.asked.topic)
        return f"replay {running} of this topic is running or was interrupted: resume or abort it first"

    async def _one(self, replay_id: UUID, states: Sequence[str], *, free: bool = False) -> asyncpg.Record:
        row = await self._db.fetchrow(self._sql(ONE), replay_id)
        if row is None:
            raise PlanError(f"{self._service} has no replay {replay_id}")
        if row["state"] not in states:
            raise PlanError(f"the replay is {row['state']}")
        if free and row["held"]:
            raise PlanError("a process is at work on this replay")
        return row

    async def _close(self, operation_id: UUID, outcome: Mapping[str, Any]) -> None:
        await self._db.execute(self._sql(CLOSE), operation_id, json.dumps(outcome))

    def _sql(self, statement: str) -> str:
        return statement.format(schema=self._service)


def _status(service: str, row: dict[str, Any]) -> Status:
    held = row.pop("held")
    if row["state"] == "running" and not held:
        row["state"] = "interrupted"
    return Status(service=service, **(row | {"effects": json.loads(row["effects"])}))
