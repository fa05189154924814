"""Opening an access request of this service's own: kept, and published through the outbox, in one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.clock import new_id
from countersign.contract import Summary
from countersign.runtime.publishing import outbox
from countersign.runtime.web.http import ProblemError
from services.enrolment.setup import decide, store
from services.enrolment.setup.model import Opening

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from countersign.client import AccessRequests
    from countersign.contract import Client
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.publishing.outbox import Kept
    from services.enrolment.model import Member

OPENED_HOURLY_MAX = 10  # chosen: a session that somebody stole sends few texts to numbers of their choosing
_HOUR = timedelta(hours=1)
_LAST_DIGITS = 2


async def open_request(db: Connection, requests: AccessRequests, opening: Opening, now: datetime) -> Kept:
    """Keep the request and its record; hand on what is returned after the commit. Raises ProblemError 429."""
    wait = await store.wait_of(db, opening.user_id, OPENED_HOURLY_MAX, _HOUR, now)
    if wait is not None:
        raise ProblemError(
            429,
            "too_many_requests",
            f"At most {OPENED_HOURLY_MAX} codes an hour for changes of one user.",
            retry_after=wait.total_seconds(),
        )
    built = requests.build(
        opening.action,
        opening.account_id,
        opening.user_id,
        opening.client,
        opening.authorised,
        opening.summary,
        request_id=opening.request_id,
        number_id=opening.number_id,
    )
    await store.keep_opening(db, opening, built.digest, built.req, now)
    return await outbox.append(db, [requests.record(built, now)])


def to_confirm(
    member: Member, number_id: UUID, old_id: UUID | None, client: Client, request_id: UUID | None, now: datetime
) -> Opening:
    """Return the request whose code goes to the number that it confirms; `old_id` is the number it replaces."""
    drawn = request_id or new_id(now)
    return Opening(
        request_id=drawn,
        account_id=member.account_id,
        user_id=member.user_id,
        action="confirm_number",
        authorised=decide.confirm_authorised(drawn, member.user_id, number_id),
        summary=Summary(),
        client=client,
        number_id=number_id,
        old_number_id=old_id,
    )


def last_digits(hint: str) -> Summary:
    """Return what the text to the old number shows of the new one."""
    return Summary(what=hint[-_LAST_DIGITS:])
