"""What an account looks like to those who set it up: setting, members, what blocks turning on, open requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from countersign.contract import Action, Role
from services.enrolment.decide import blocks
from services.enrolment.model import MemberNumbers, NumberState

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from countersign.runtime.database.postgres import Connection

ACCOUNT = "SELECT two_factor, switched_at, version, exports_held_until FROM account WHERE account_id = $1"

MEMBERS = """
SELECT m.user_id, m.role, m.name, m.locale, m.exports_held_until,
       m.pending_role, m.pending_name, m.pending_since,
       c.number_id AS confirmed_id, c.hint AS confirmed_hint, c.confirmed_at,
       g.number_id AS given_id, g.hint AS given_hint, g.provided_at,
       m.unlocked_at, r.at AS reset_at, r.until AS reset_until, r.anywhere AS reset_anywhere
  FROM member m
  LEFT JOIN phone_number c ON c.user_id = m.user_id AND c.state = 'confirmed'
  LEFT JOIN phone_number g ON g.user_id = m.user_id AND g.state = 'provided'
  LEFT JOIN open_reset r ON r.user_id = m.user_id
 WHERE m.account_id = $1 AND (m.role IS NOT NULL OR m.pending_role IS NOT NULL)
 ORDER BY m.role IS DISTINCT FROM 'owner', coalesce(m.name, m.pending_name), m.user_id
"""

# A request is denied as stale after some minutes, and its code is over after 10 (NIST SP 800-63B-4, 3.1.3.2): what is
# older has lost its decision, and nobody waits for it.
OPEN_REQUESTS = """
SELECT request_id, user_id, action, number_id, member_id, opened_at
  FROM request WHERE account_id = $1 AND state = 'open' AND opened_at > now() - interval '15 minutes'
 ORDER BY opened_at, request_id
"""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class NumberSeen(_Part):
    """A number without the number. `since` is when it was confirmed, or given."""

    number_id: UUID
    state: NumberState
    hint: str
    since: AwareDatetime


class ResetSeen(_Part):
    """An account manager reset the number, and none was confirmed since. `anywhere`: from which places it counts."""

    at: AwareDatetime
    until: AwareDatetime
    anywhere: bool


class MemberSeen(_Part):
    """A member. `number` is in force; `given_number` waits for its first accepted code."""

    user_id: UUID
    role: Role
    name: str
    locale: str | None
    number: NumberSeen | None
    given_number: NumberSeen | None
    exports_held_until: AwareDatetime | None
    unlocked_at: AwareDatetime | None
    reset: ResetSeen | None


class PendingSeen(_Part):
    """A member, or a higher role, that waits for the owner's code."""

    user_id: UUID
    role: Role
    name: str
    since: AwareDatetime


class BlockSeen(_Part):
    """What stands in the way of turning on; `name` is whose number it is about."""

    user_id: UUID | None
    name: str | None
    reason: Literal["owner.missing", "number.missing", "number.unconfirmed"]


class RequestSeen(_Part):
    """A request of this service that has no decision yet. `user_id` is who gets the code."""

    request_id: UUID
    user_id: UUID
    action: Action
    number_id: UUID | None
    member_id: UUID | None
    opened_at: AwareDatetime


class PolicySeen(_Part):
    """What the policy asks for before two-factor is turned on."""

    members_need: Literal["given", "confirmed"]


class AccountSeen(_Part):
    """The answer of GET /v1/accounts/{id}."""

    account_id: UUID
    two_factor: bool
    two_factor_since: AwareDatetime | None
    version: int
    exports_held_until: AwareDatetime | None
    members: list[MemberSeen]
    pending_members: list[PendingSeen]
    blocked_by: list[BlockSeen]
    unconfirmed: list[UUID]
    open_requests: list[RequestSeen]
    policy: PolicySeen


async def see(db: Connection, account_id: UUID, members_need: Literal["given", "confirmed"]) -> AccountSeen | None:
    """Return the account as of one moment, or None if nobody was ever its member."""
    async with db.transaction(isolation="repeatable_read", readonly=True):
        account = await db.fetchrow(ACCOUNT, account_id)
        if account is None:
            return None
        rows = await db.fetch(MEMBERS, account_id)
        requests = await db.fetch(OPEN_REQUESTS, account_id)
    held = [row for row in rows if row["role"] is not None]
    names = {row["user_id"]: row["name"] for row in held}
    numbers = [
        MemberNumbers(row["user_id"], row["role"], row["confirmed_id"] is not None, row["given_id"] is not None)
        for row in held
    ]
    return AccountSeen(
        account_id=account_id,
        two_factor=account["two_factor"],
        two_factor_since=account["switched_at"] if account["two_factor"] else None,
        version=account["version"],
        exports_held_until=account["exports_held_until"],
        members=[_member(row) for row in held],
        pending_members=[_pending(row) for row in rows if row["pending_role"] is not None],
        blocked_by=[
            BlockSeen(user_id=one.user_id, name=None if one.user_id is None else names[one.user_id], reason=one.reason)
            for one in blocks(numbers, members_need)
        ],
        unconfirmed=[one.user_id for one in numbers if one.given and not one.confirmed],
        open_requests=[RequestSeen(**dict(row)) for row in requests],
        policy=PolicySeen(members_need=members_need),
    )


def _member(row: asyncpg.Record) -> MemberSeen:
    return MemberSeen(
        user_id=row["user_id"],
        role=row["role"],
        name=row["name"],
        locale=row["locale"],
        number=_number(row["confirmed_id"], "confirmed", row["confirmed_hint"], row["confirmed_at"]),
        given_number=_number(row["given_id"], "provided", row["given_hint"], row["provided_at"]),
        exports_held_until=row["exports_held_until"],
        unlocked_at=row["unlocked_at"],
        reset=_reset(row),
    )


def _reset(row: asyncpg.Record) -> ResetSeen | None:
    if row["reset_at"] is None:
        return None
    return ResetSeen(at=row["reset_at"], until=row["reset_until"], anywhere=row["reset_anywhere"])


def _number(number_id: UUID | None, state: NumberState, hint: str | None, since: datetime | None) -> NumberSeen | None:
    if number_id is None or hint is None or since is None:
        return None
    return NumberSeen(number_id=number_id, state=state, hint=hint, since=since)


def _pending(row: asyncpg.Record) -> PendingSeen:
    return PendingSeen(
        user_id=row["user_id"], role=row["pending_role"], name=row["pending_name"], since=row["pending_since"]
    )
