"""What still needs a key: asked of the services' databases, by the role `operator`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.operations.keys.plan import Use
from countersign.runtime.keys import RETIRED_KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import asyncpg

    from countersign.operations.keys.rings import Holdings

NOW = "SELECT clock_timestamp()"
OPEN_TEXTS = """
SELECT count(DISTINCT challenge_id) AS challenges, max(expires_at) AS until
  FROM verifier.open_text WHERE issued_at >= $1 AND ($2::timestamptz IS NULL OR issued_at < $2)
"""
LIVE_GRANTS = "SELECT count(*) AS grants, max(grant_expires_at) AS until FROM verifier.live_grant WHERE key_id = $1"
NUMBERS = "SELECT coalesce(sum(numbers), 0) FROM enrolment.numbers_by_key WHERE key_id = $1"
# A transaction reads the time and the key at its begin, and commits later.
COMMITTED_WITHIN = timedelta(seconds=10)
# An assessment is judged until its request is stale (10 minutes at most), or waits for a server that is away.
ASSESSMENT_NEEDED_FOR = timedelta(minutes=20)


async def now_of(db: asyncpg.Connection) -> datetime:
    """Return the time by which the services choose a key."""
    now: datetime = await db.fetchval(NOW)
    return now


async def uses_of(db: asyncpg.Connection, holdings: Holdings, key_id: str, now: datetime) -> list[Use]:
    """Return what still needs a key of a ring; empty if nothing does, or if it never began."""
    if not holdings.entries(key_id) or holdings.begins(key_id) > now:
        return []
    until = holdings.used_until(key_id)
    found = list(_just_changed(until, now))
    match holdings.ring.name:
        case "codes":
            found += await _open_challenges(db, holdings.begins(key_id), until)
        case "grants":
            found += [*await _live_grants(db, key_id), *_published(holdings.retired_at(key_id), now)]
        case "numbers":
            if numbers := await db.fetchval(NUMBERS, key_id):
                found.append(
                    Use(what="numbers are sealed with it: run `python -m services.enrolment rekey`", count=int(numbers))
                )
        case "assessments":
            if until is not None and now < until + ASSESSMENT_NEEDED_FOR:
                found.append(Use(what="assessments may be on their way", until=until + ASSESSMENT_NEEDED_FOR))
        case name:
            raise ValueError(name)
    return found


async def _open_challenges(db: asyncpg.Connection, begins: datetime, until: datetime | None) -> list[Use]:
    row = await db.fetchrow(OPEN_TEXTS, begins, None if until is None else until + COMMITTED_WITHIN)
    if not row["challenges"]:
        return []
    return [Use(what="open challenges may have a code sealed with it", count=row["challenges"], until=row["until"])]


async def _live_grants(db: asyncpg.Connection, key_id: str) -> list[Use]:
    row = await db.fetchrow(LIVE_GRANTS, key_id)
    if not row["grants"]:
        return []
    return [Use(what="grants that are still good were signed with it", count=row["grants"], until=row["until"])]


def _published(retired_at: datetime | None, now: datetime) -> Iterator[Use]:
    """Yield that the key set still has to publish it: learning places and replays check what it signed."""
    if retired_at is None:
        yield Use(what="the verifier's key set (JWKS) publishes it, for 40 days after it was retired")
    elif now < retired_at + RETIRED_KEPT:
        until = retired_at + RETIRED_KEPT
        yield Use(what="the verifier's key set (JWKS) has to publish it", until=until)


def _just_changed(until: datetime | None, now: datetime) -> Iterator[Use]:
    if until is not None and now < until + COMMITTED_WITHIN:
        yield Use(what="what was begun with it may not be committed yet", until=until + COMMITTED_WITHIN)
