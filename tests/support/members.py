"""Members as enrolment holds them, put straight into its tables under its own role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

if TYPE_CHECKING:
    from datetime import timedelta

    from tests.support.servers import Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member. `number_id` is the number in force, or the given one."""

    account_id: UUID
    user_id: UUID
    number_id: UUID | None


async def a_member(
    servers: Servers,
    *,
    account_id: UUID | None = None,
    role: str = "managed",
    two_factor: bool = True,
    number: str | None = "confirmed",
    held_for: timedelta | None = None,
) -> Member:
    """Put in a member of a new account, or of one that is there; `number` is its state."""
    member = Member(account_id=account_id or uuid4(), user_id=uuid4(), number_id=None if number is None else uuid4())
    db = await asyncpg.connect(servers.dsn_of("enrolment"))
    try:
        await db.execute(
            "INSERT INTO account (account_id, two_factor, exports_held_until) VALUES ($1, $2, now() + $3::interval)"
            " ON CONFLICT (account_id) DO NOTHING",
            member.account_id,
            two_factor,
            held_for,
        )
        await db.execute(
            "INSERT INTO member (user_id, account_id, version, role, name) VALUES ($1, $2, 1, $3, 'Ada Byron')",
            member.user_id,
            member.account_id,
            role,
        )
        if member.number_id is not None:
            await db.execute(
                "INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint,"
                " provided_at) VALUES ($1, $2, $3, '+61 ••••••••06', 'AU', $4, 'number-1', $5, now())",
                member.number_id,
                member.user_id,
                number,
                b"sealed for nobody",
                member.number_id.bytes,
            )
    finally:
        await db.close()
    return member
