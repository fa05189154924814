"""The routes of the account: turning two-factor on, and members that an owner approves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from countersign.clock import new_id
from countersign.contract import Actor
from countersign.runtime.publishing.outbox import NOTHING
from countersign.runtime.web.http import ProblemError, Route, body, parse_id
from services.enrolment import changes
from services.enrolment import decide as rules
from services.enrolment import store as tables
from services.enrolment.model import Change
from services.enrolment.setup import decide, store
from services.enrolment.setup.bodies import MemberBody, SwitchBody
from services.enrolment.setup.opening import open_request
from services.enrolment.setup.redeeming import approved, refused
from services.enrolment.setup.tools import Membership, to_approve

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.publishing.outbox import Kept
    from services.enrolment.model import Member
    from services.enrolment.setup.model import SealedNumber
    from services.enrolment.setup.tools import Tools


class SwitchRoutes:
    """The handlers, and what they need."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def all(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("PUT", "/v1/accounts/{id}/two-factor", self._switch, "two_factor.switch"),
            Route("POST", "/v1/accounts/{id}/members", self._approve, "members.manage"),
        ]

    async def _switch(self, request: web.Request) -> web.Response:
        """Turn two-factor on; nobody turns it off here."""
        account_id, asked = parse_id(request), await body(request, SwitchBody)
        if not asked.enabled:
            raise ProblemError(403, "turning_off", "Only an account manager turns two-factor off.")
        tools = self._tools
        if asked.grant is not None:
            await tools.grants.prepare([asked.grant])
        async with tools.pool.acquire() as db, db.transaction():
            await self._require_owner(db, account_id, asked.actor)
            now = await tables.now_of(db)
            done = await self._confirm_own(db, asked, now) if asked.grant is not None else []
            done += await self._turned_on(db, account_id, asked, now)
            due = await changes.keep(db, done, now)
            two_factor, version = await store.switched(db, account_id)
        tools.publisher.hand(due)
        return web.json_response({"two_factor": two_factor, "version": version}, headers={"Cache-Control": "no-store"})

    async def _actor(self, db: Connection, account_id: UUID, actor_id: UUID) -> tuple[Member | None, bool]:
        """Lock the account; return the actor, and whether the account is protected. Raises ProblemError 404."""
        locked = await tables.lock_accounts(db, [account_id], make=False)
        if account_id not in locked:
            raise ProblemError(404, "account_unknown", "No such account is known here.")
        return (await tables.members(db, [actor_id])).get(actor_id), locked[account_id]

    async def _require_owner(self, db: Connection, account_id: UUID, actor_id: UUID) -> None:
        """Lock the account. Raises ProblemError for an actor who is no owner of it."""
        actor, _ = await self._actor(db, account_id, actor_id)
        if not decide.owns(actor, account_id):
            raise ProblemError(403, "actor_not_allowed", "actor: not an owner of this account.")

    async def _needs_approval(self, db: Connection, account_id: UUID, actor_id: UUID) -> bool:
        """Lock the account and return whether its members need a code. Raises ProblemError for who may approve none."""
        actor, two_factor = await self._actor(db, account_id, actor_id)
        if decide.manages(actor, account_id):
            return True
        if not decide.owns(actor, account_id):
            raise ProblemError(403, "actor_not_allowed", "actor: approves no members of this account.")
        return two_factor

    async def _confirm_own(self, db: Connection, asked: SwitchBody, now: datetime) -> list[Change]:
        """Confirm the actor's number by the grant of its code, unless reading the decision did so before."""
        request = await approved(db, self._tools.grants, asked.grant or "", now)
        if request.action != "confirm_number" or request.user_id != asked.actor:
            raise refused("it confirms no number of the actor")
        numbers = (await tables.numbers(db, [asked.actor])).get(asked.actor, [])
        if any(number.number_id == request.number_id and number.state == "confirmed" for number in numbers):
            return []
        confirmed = rules.confirmed_by_own(request, numbers)
        if confirmed is None or not await tables.spend(db, {request.request_id: "number.confirmed"}, now):
            raise refused("its number is not the given one any more")
        await tables.confirm(db, [confirmed], self._tools.hold, now)
        return [changes.of_confirmed(confirmed)]

    async def _turned_on(self, db: Connection, account_id: UUID, asked: SwitchBody, now: datetime) -> list[Change]:
        members, names = await store.member_numbers(db, account_id)
        blocked = rules.blocks(members, self._tools.members_need)
        if blocked:
            raise ProblemError(
                409,
                "blocked",
                "Not everybody has a number that codes can go to.",
                blocked_by=[
                    {
                        "user_id": None if one.user_id is None else str(one.user_id),
                        "name": None if one.user_id is None else names[one.user_id],
                        "reason": one.reason,
                    }
                    for one in blocked
                ],
            )
        if (await store.switched(db, account_id))[0]:
            return []
        await store.switch_on(db, account_id, now)
        by = Actor(kind="user", id=str(asked.actor))
        forgotten = [] if asked.keep_places is None else await store.places_but(db, account_id, asked.keep_places)
        return [
            Change(kind="two_factor.enabled", account_id=account_id, actor=by, ip=asked.client.ip),
            *(
                Change(kind="places.forgotten", account_id=account_id, actor=by, place=place, ip=asked.client.ip)
                for place in forgotten
            ),
        ]

    async def _approve(self, request: web.Request) -> web.Response:
        """Ask the owner for a code to a member who is about to be set, and in the staff account an account manager.

        In an account of customers without two-factor none is needed.
        """
        account_id, asked = parse_id(request), await body(request, MemberBody)
        tools = self._tools
        number = None if asked.number is None else tools.parse(asked.number, asked.region)
        async with tools.pool.acquire() as db, db.transaction():
            if not await self._needs_approval(db, account_id, asked.actor):
                return _requested(None, 200)
            known = (await tables.members(db, [asked.user_id])).get(asked.user_id)
            if known is not None and known.account_id != account_id:
                raise ProblemError(409, "user_of_another_account", "user_id: a member of another account.")
            if not await store.has_confirmed(db, asked.actor):
                raise ProblemError(409, "number_missing", "actor: has no confirmed number that the code could go to.")
            now = await tables.now_of(db)
            new = None
            if number is not None:
                key = tools.sealing_key(now)
                new = store.seal(number, asked.user_id, new_id(now), key, tools.fingerprint_key)
            request_id, due = await self._asked(db, account_id, asked, new, now)
        tools.publisher.hand(due)
        return _requested(request_id, 202)

    async def _asked(
        self, db: Connection, account_id: UUID, asked: MemberBody, new: SealedNumber | None, now: datetime
    ) -> tuple[UUID, Kept]:
        before = None if asked.request_id is None else await store.opened(db, asked.request_id)
        if before is not None and asked.request_id is not None:
            if (before.action, before.subject_id) != ("manage_member", asked.user_id):
                raise ProblemError(409, "request_id_taken", "request_id: in use by another request.")
            return asked.request_id, NOTHING
        member = Membership(account_id=account_id, user_id=asked.user_id, role=asked.role, name=asked.name)
        opening = to_approve(asked.request_id or new_id(now), asked.actor, member, asked.client, new)
        return opening.request_id, await open_request(db, self._tools.requests, opening, now)


def _requested(request_id: UUID | None, status: int) -> web.Response:
    document = {"request_id": None if request_id is None else str(request_id)}
    return web.json_response(document, status=status, headers={"Cache-Control": "no-store"})
