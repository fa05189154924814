"""What has had its time is erased: ended numbers, spent grants, closed requests, some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from countersign.runtime.database.postgres import Connection

NUMBERS_KEPT_DAYS = 2  # the notice to a replaced number leaves within minutes; texts to it end with its challenges
NEW_NUMBERS_KEPT_DAYS = 1  # chosen: far longer than the grant of the request that would let it in
GRANTS_KEPT_DAYS = 40  # longer than any topic keeps the decision (30 days) that could bring a grant back
ACTS_KEPT_DAYS = 400  # chosen: a year of what was done, to look back on; the audit chain keeps it for good
RESETS_KEPT_DAYS = 1  # a reset that is over says nothing any more
_ROWS_MAX = 1_000

ERASE_NUMBERS = """
UPDATE phone_number SET sealed = NULL, fingerprint = NULL
 WHERE number_id IN (
       SELECT number_id FROM phone_number
        WHERE sealed IS NOT NULL AND ended_at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING number_id
"""

ERASE_GRANTS = """
DELETE FROM spent_grant
 WHERE request_id IN (
       SELECT request_id FROM spent_grant
        WHERE spent_at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING request_id
"""

ERASE_REQUESTS = """
DELETE FROM request
 WHERE request_id IN (
       SELECT request_id FROM request
        WHERE coalesce(closed_at, opened_at) < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING request_id
"""

# A number that no code has let in is nobody's: the grant of its request is over after minutes.
ERASE_NEW_NUMBERS = """
UPDATE request SET new_sealed = NULL, new_fingerprint = NULL
 WHERE request_id IN (
       SELECT request_id FROM request
        WHERE new_sealed IS NOT NULL AND opened_at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING request_id
"""

ERASE_ACTS = """
DELETE FROM manager_act
 WHERE request_id IN (
       SELECT request_id FROM manager_act
        WHERE at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING request_id
"""

ERASE_RESETS = """
DELETE FROM number_reset
 WHERE user_id IN (
       SELECT user_id FROM number_reset
        WHERE until < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING user_id
"""

_ERASED = (
    (ERASE_ACTS, ACTS_KEPT_DAYS),
    (ERASE_RESETS, RESETS_KEPT_DAYS),
    (ERASE_NEW_NUMBERS, NEW_NUMBERS_KEPT_DAYS),
    (ERASE_NUMBERS, NUMBERS_KEPT_DAYS),
    (ERASE_GRANTS, GRANTS_KEPT_DAYS),
    (ERASE_REQUESTS, GRANTS_KEPT_DAYS),
)


async def erase(db: Connection) -> int:
    """Erase some of each; return how many rows."""
    return sum([len(await db.fetch(sql, days, _ROWS_MAX)) for sql, days in _ERASED])
