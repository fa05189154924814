"""Numbers that an owner entered for members who had to be approved first: given with the member, by the same code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.contract import Actor
from countersign.runtime.publishing.outbox import NOTHING
from services.enrolment import changes
from services.enrolment import store as tables
from services.enrolment.model import Change
from services.enrolment.setup import store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.publishing.outbox import Kept
    from services.enrolment.model import MemberChanged


async def give_approved(db: Connection, changed: Sequence[MemberChanged], now: datetime) -> Kept:
    """Give members the numbers of the requests that were spent on them, unless they have one in force."""
    spent = {one.spent: one.member for one in changed if one.spent is not None}
    if not spent:
        return NOTHING
    new = await store.new_numbers(db, sorted(spent))
    requests = await tables.own_requests(db, new)
    done: list[Change] = []
    for request_id, number in sorted(new.items()):
        member, request = spent[request_id], requests[request_id]
        if await store.has_confirmed(db, member.user_id) or not await store.give(db, member.user_id, number, now):
            continue
        done.append(
            Change(
                kind="number.provided",
                account_id=member.account_id,
                actor=Actor(kind="user", id=str(request.user_id)),
                user_id=member.user_id,
                number_id=number.number_id,
                ip=request.ip,
            )
        )
    return await changes.keep(db, done, now)
