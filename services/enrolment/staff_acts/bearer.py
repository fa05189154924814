"""The bearer of an act: the grant of this very act, checked in full against what was called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from countersign.client import GrantRefusedError, ManagerAct
from countersign.contract import Client
from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.messages.cloudevents import Text
from countersign.runtime.web.http import ProblemError
from services.enrolment.setup.redeeming import refused

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from aiohttp import web

    from countersign.client import Grant, ManagerActKind
    from services.enrolment.setup.tools import Tools

_FILLED = r"\S"


class ActBody(BaseModel):
    """Why, and for which support case; `client` as the access request has it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    reason: Annotated[Text, StringConstraints(max_length=500, pattern=_FILLED)]
    ticket: Annotated[Text, StringConstraints(max_length=100, pattern=_FILLED)]
    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What was called, as the grant has to authorise it."""

    kind: ManagerActKind
    target: UUID
    anywhere: bool
    asked: ActBody
    grant: str = field(repr=False)


def bearer_of(request: web.Request) -> str:
    """Return the bearer. Raises ProblemError 401."""
    scheme, _, grant = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not grant.strip():
        raise ProblemError(401, "no_bearer", "This route asks for the grant of this very act as its bearer.")
    return grant.strip()


def anywhere_of(request: web.Request, kind: ManagerActKind) -> bool:
    """Return whether the number may be entered from anywhere; the path is taken in one spelling alone."""
    match request.query_string:
        case "":
            return False
        case "anywhere=true" if kind == "number.reset":
            return True
        case _:
            raise ProblemError(400, "unknown_parameter", "The only query here is anywhere=true, of number/reset.")


def authorised(tools: Tools, called: Called, staff_account_id: UUID | None, now: datetime) -> Grant:
    """Return the grant if it authorises exactly what was called. Raises ProblemError 403.

    The keys are at hand: the caller called `prepare` before. The request is made anew from what was called: its digest
    has to be the grant's, and its bytes have to be those that were judged. So a copy of the request that showed the
    account manager another text lets nothing through.
    """
    asked = called.asked
    try:
        found = tools.grants.read(called.grant)
        act = ManagerAct(
            request_id=found.request_id,
            kind=called.kind,
            target=called.target,
            reason=asked.reason,
            ticket=asked.ticket,
            anywhere=called.anywhere,
        )
        built = tools.requests.build(
            "manager_act",
            found.account_id,
            found.user_id,
            asked.client,
            act.authorised(),
            act.summary,
            request_id=found.request_id,
        )
        checked = tools.grants.judge(called.grant, built.expected, now)
    except GrantRefusedError as why:
        raise refused(str(why)) from None
    except KeyUnknownError:
        raise refused("kid: the verifier publishes no such key") from None
    if checked.method != "sms":
        raise refused("amr: no code was entered for it")
    if staff_account_id is not None and checked.account_id != staff_account_id:
        raise refused("acct: not the staff account")
    return checked
