"""Setting-up sessions, and the resets that lead to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway import store
from services.gateway.setup.decide import OpenReset

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.runtime.database.postgres import Pool
    from services.gateway.model import Person, Site

OPEN_RESET = """
SELECT r.two_factor, r.anywhere,
       EXISTS (SELECT FROM risk_evaluator.known_place k
                WHERE k.account_id = r.account_id AND k.taught_by = r.user_id AND k.place::cidr >>= $2::inet)
           AS place_used
  FROM enrolment.open_reset r WHERE r.user_id = $1
"""

# `request_id` names no request: it follows from the secret like that of a log-in. Only while the reset is open.
BEGIN = """
INSERT INTO session (id, site, stage, user_id, request_id, ip, form, begun_at, used_at, held, password_at)
SELECT $1, $2, 'setup', $3, $4, $5::inet, $6, now(), now(), true, now() FROM enrolment.open_reset r WHERE r.user_id = $3
    ON CONFLICT (id) DO NOTHING
"""


async def open_reset(pool: Pool, user_id: UUID, ip: str | None) -> OpenReset | None:
    """Return the reset of the user's number that waits for another, if there is one."""
    row = await pool.fetchrow(OPEN_RESET, user_id, ip)
    return None if row is None else OpenReset(**dict(row))


async def begin(  # noqa: PLR0913 - one argument for each column
    pool: Pool,
    session_id: bytes,
    replaced: bytes,
    site: Site,
    person: Person,
    request_id: UUID,
    ip: str | None,
    *,
    form: bytes,
) -> None:
    """Begin a session that can only set a number up, in the place of whatever the browser held before."""
    async with pool.acquire() as db, db.transaction():
        await store.end(db, replaced)
        await db.execute(BEGIN, session_id, site, person.user_id, request_id, ip, form)
