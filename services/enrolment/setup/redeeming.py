"""Grants that somebody brings along: found by the request that they name, checked against it, spent once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.client.grant import Expected, GrantRefusedError, named_request
from countersign.runtime.web.http import ProblemError
from services.enrolment import store

if TYPE_CHECKING:
    from datetime import datetime

    from countersign.client import Grants
    from countersign.runtime.database.postgres import Connection
    from services.enrolment.model import OwnRequest


async def approved(db: Connection, grants: Grants, grant: str, now: datetime) -> OwnRequest:
    """Return the request of this service that the grant authorises. Raises ProblemError 403.

    The keys are at hand: the caller called `prepare` before its transaction. Spend the request in the same transaction.
    """
    named = named_request(grant)
    request = None if named is None else (await store.own_requests(db, [named])).get(named)
    if request is None or request.req is None:
        raise refused("it is of no request of this service")
    expected = Expected(
        action=request.action,  # type: ignore[arg-type] # the column holds nothing but these actions
        request_id=request.request_id,
        user_id=request.user_id,
        account_id=request.account_id,
        digest=request.digest,
        req=request.req,
    )
    try:
        found = grants.judge(grant, expected, now)
    except GrantRefusedError as why:
        raise refused(str(why)) from None
    if found.method != "sms":
        raise refused("amr: no code was entered for it")
    return request


def refused(why: str) -> ProblemError:
    """Return the problem of a grant that does not authorise what is asked for."""
    return ProblemError(403, "grant_refused", f"grant: {why}.")
