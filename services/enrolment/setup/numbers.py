"""The routes of numbers: entering one, changing it, giving one to somebody else, and asking for its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from countersign.clock import new_id
from countersign.contract import Actor
from countersign.runtime.publishing.outbox import NOTHING
from countersign.runtime.web.http import ProblemError, Route, body, parse_id
from services.enrolment import changes
from services.enrolment import store as tables
from services.enrolment.model import Change
from services.enrolment.setup import decide, store
from services.enrolment.setup.bodies import ConfirmationBody, NumberBody
from services.enrolment.setup.decide import SetupRefusedError
from services.enrolment.setup.model import Opening
from services.enrolment.setup.opening import last_digits, open_request, to_confirm
from services.enrolment.setup.redeeming import approved, refused
from services.enrolment.setup.tools import Membership, to_approve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.contract.number import PhoneNumber
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Outgoing
    from services.enrolment.model import Member
    from services.enrolment.setup.model import Plan, SealedNumber, Standing
    from services.enrolment.setup.tools import Tools

_WORDS: dict[str, tuple[int, str]] = {
    "user_unknown": (404, "No such member is known here."),
    "actor_not_allowed": (403, "actor: may not change the number of this user."),
    "number_in_force": (409, "This user has confirmed a number: nobody else changes it."),
    "same_number": (409, "number: this is the number in force already."),
    "number_missing": (409, "actor: has no confirmed number that the code could go to."),
    "none_given": (409, "This user has no number that waits for its code."),
    "number_changed": (409, "The number in force is another than when the code was asked for."),
}


def problem_of(error: SetupRefusedError) -> ProblemError:
    """Return the problem that says so."""
    status, detail = _WORDS[error.kind]
    return ProblemError(status, error.kind, detail)


@dataclass(frozen=True, slots=True)
class _Done:
    """What is answered, and what is to be published."""

    number_id: UUID
    hint: str
    needs: str | None
    request_id: UUID | None
    due: Sequence[Outgoing]

    def response(self) -> web.Response:
        document = {
            "request_id": None if self.request_id is None else str(self.request_id),
            "number_id": str(self.number_id),
            "number_hint": self.hint,
            "needs": self.needs,
        }
        return web.json_response(document, status=202, headers={"Cache-Control": "no-store"})


class NumberRoutes:
    """The handlers, and what they need."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def all(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("PUT", "/v1/users/{id}/number", self._put, "numbers.change"),
            Route("POST", "/v1/users/{id}/number/confirmation", self._confirmation, "numbers.change"),
        ]

    async def _put(self, request: web.Request) -> web.Response:
        target_id, asked = parse_id(request), await body(request, NumberBody)
        if (asked.number is None) == (asked.grant is None):
            raise ProblemError(422, "fields", "number, grant: exactly one of them is needed.")
        if asked.grant is not None:
            await self._tools.grants.prepare([asked.grant])
            return await self._committed(target_id, asked)
        return await self._committed(target_id, asked, self._tools.parse(asked.number or "", asked.region))

    async def _committed(self, target_id: UUID, asked: NumberBody, number: PhoneNumber | None = None) -> web.Response:
        tools = self._tools
        try:
            async with tools.pool.acquire() as db, db.transaction():
                standing = await store.standing(db, asked.actor, target_id)
                now = await tables.now_of(db)
                if number is None:
                    done = await self._redeemed(db, standing, asked, now)
                else:
                    done = await self._entered(db, standing, asked, number, now)
        except SetupRefusedError as error:
            raise problem_of(error) from None
        tools.publisher.hand(done.due)
        return done.response()

    async def _entered(
        self, db: Connection, standing: Standing, asked: NumberBody, number: PhoneNumber, now: datetime
    ) -> _Done:
        tools = self._tools
        target = decide.member_of(standing)
        new = store.seal(number, target.user_id, new_id(now), tools.sealing_key(now), tools.fingerprint_key)
        before = None if asked.request_id is None else await store.opened(db, asked.request_id)
        if before is not None:
            if (before.subject_id, before.fingerprint) != (target.user_id, new.fingerprint):
                raise ProblemError(409, "request_id_taken", "request_id: in use by another request.")
            return _Done(before.number_id or new.number_id, new.hint, before.action, asked.request_id, NOTHING)
        plan = decide.plan(standing, new.fingerprint)
        return await self._planned(db, standing, asked, plan, new, now)

    async def _planned(
        self, db: Connection, standing: Standing, asked: NumberBody, plan: Plan, new: SealedNumber, now: datetime
    ) -> _Done:
        tools, target = self._tools, decide.member_of(standing)
        due: Sequence[Outgoing] = ()
        number_id = new.number_id
        if plan.keep:
            number_id, due = await self._given(db, target, new, asked, now)
        if plan.hold:
            await tables.hold_exports(db, [target.user_id], tools.hold, now)
        if plan.needs is None:
            return _Done(number_id, new.hint, None, None, due)
        opening = self._opening(standing, asked, plan, new, number_id, now)
        due = [*due, *await open_request(db, tools.requests, opening, now)]
        return _Done(number_id, new.hint, plan.needs, opening.request_id, due)

    def _opening(
        self, standing: Standing, asked: NumberBody, plan: Plan, new: SealedNumber, number_id: UUID, now: datetime
    ) -> Opening:
        target, in_force = decide.member_of(standing), standing.in_force
        if plan.needs == "confirm_number":
            return to_confirm(target, number_id, None, asked.client, asked.request_id, now)
        request_id = asked.request_id or new_id(now)
        if plan.needs == "change_number" and in_force is not None:
            return Opening(
                request_id=request_id,
                account_id=target.account_id,
                user_id=target.user_id,
                action="change_number",
                authorised=decide.change_authorised(request_id, target.user_id, in_force.number_id, new.fingerprint),
                summary=last_digits(new.hint),
                client=asked.client,
                old_number_id=in_force.number_id,
                new=new,
            )
        member = Membership(
            account_id=target.account_id,
            user_id=target.user_id,
            role=target.profile.role if target.profile is not None else "managed",
            name=target.profile.name if target.profile is not None else "",
        )
        return to_approve(request_id, asked.actor, member, asked.client, new)

    async def _redeemed(self, db: Connection, standing: Standing, asked: NumberBody, now: datetime) -> _Done:
        """Spend the grant of a code: the number that it lets in is given from now on."""
        tools, target = self._tools, decide.member_of(standing)
        request = await approved(db, tools.grants, asked.grant or "", now)
        new = (await store.new_numbers(db, [request.request_id])).get(request.request_id)
        if new is None or (request.member_id or request.user_id) != target.user_id:
            raise refused("it is for the number of nobody here")
        plan = decide.redeemed(standing, request)
        if not await tables.spend(db, {request.request_id: f"number.{request.action}"}, now):
            return await self._repeated(db, standing, asked, new, plan)
        number_id, due = await self._given(db, target, new, asked, now)
        if plan.needs is None:
            return _Done(number_id, new.hint, None, None, due)
        opening = to_confirm(target, number_id, request.old_number_id, asked.client, asked.request_id, now)
        due = [*due, *await open_request(db, tools.requests, opening, now)]
        return _Done(number_id, new.hint, plan.needs, opening.request_id, due)

    async def _repeated(
        self, db: Connection, standing: Standing, asked: NumberBody, new: SealedNumber, plan: Plan
    ) -> _Done:
        """Answer a grant that was spent: the same form again gets the same answer, anything else is refused."""
        before = None if asked.request_id is None else await store.opened(db, asked.request_id)
        given = standing.given
        if plan.needs is None and given is not None and given.number_id == new.number_id:
            return _Done(new.number_id, new.hint, None, None, NOTHING)
        if before is None or before.number_id != new.number_id:
            raise refused("it was spent before")
        return _Done(new.number_id, new.hint, plan.needs, asked.request_id, NOTHING)

    async def _given(
        self, db: Connection, target: Member, new: SealedNumber, asked: NumberBody, now: datetime
    ) -> tuple[UUID, Sequence[Outgoing]]:
        """Make the number the given one; return its id, and the event if it is another than before."""
        number_id = await store.give(db, target.user_id, new, now)
        if number_id is None:
            return await store.given_id(db, target.user_id), NOTHING
        change = Change(
            kind="number.provided",
            account_id=target.account_id,
            actor=Actor(kind="user", id=str(asked.actor)),
            user_id=target.user_id,
            number_id=number_id,
            ip=asked.client.ip,
        )
        return number_id, await changes.keep(db, [change], now)

    async def _confirmation(self, request: web.Request) -> web.Response:
        """Send a code to the number that somebody else gave, or that was given earlier."""
        target_id, asked = parse_id(request), await body(request, ConfirmationBody)
        tools = self._tools
        try:
            async with tools.pool.acquire() as db, db.transaction():
                done = await self._asked_for_code(db, target_id, asked)
        except SetupRefusedError as error:
            raise problem_of(error) from None
        tools.publisher.hand(done.due)
        return done.response()

    async def _asked_for_code(self, db: Connection, target_id: UUID, asked: ConfirmationBody) -> _Done:
        standing = await store.standing(db, asked.actor, target_id)
        now = await tables.now_of(db)
        number_id = decide.confirms_own(standing, now).number_id
        hint = await store.hint_of(db, number_id)
        before = None if asked.request_id is None else await store.opened(db, asked.request_id)
        if before is not None:
            if before.number_id != number_id:
                raise ProblemError(409, "request_id_taken", "request_id: in use by another request.")
            return _Done(number_id, hint, "confirm_number", asked.request_id, NOTHING)
        old_id = standing.in_force.number_id if standing.in_force is not None else None
        target = decide.member_of(standing)
        opening = to_confirm(target, number_id, old_id, asked.client, asked.request_id, now)
        due = await open_request(db, self._tools.requests, opening, now)
        return _Done(number_id, hint, "confirm_number", opening.request_id, due)
