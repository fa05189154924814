"""The routes of account managers. The bearer of an act is its grant, and nothing else is taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from aiohttp import web

from countersign.contract import Actor
from countersign.runtime.web.http import ProblemError, Route, body, parse_id, query_id
from services.enrolment import changes
from services.enrolment import store as tables
from services.enrolment.model import Change
from services.enrolment.staff_acts import decide, store
from services.enrolment.staff_acts.bearer import ActBody, Called, anywhere_of, authorised, bearer_of
from services.enrolment.staff_acts.decide import ActRefusedError
from services.enrolment.staff_acts.model import Act, Facts

if TYPE_CHECKING:
    from uuid import UUID

    import structlog
    from prometheus_client import Counter

    from countersign.client import ManagerActKind
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.publishing.outbox import Kept
    from services.enrolment.model import ChangeKind
    from services.enrolment.setup.tools import Tools
    from services.enrolment.staff_acts.model import ActOutcome

ACTS_LISTED_MAX = 50  # chosen: what the console shows on one page

_WORDS: dict[str, tuple[int, str]] = {
    "actor_not_allowed": (403, "The grant's user is not an account manager of the staff account."),
    "too_many_acts": (429, f"At most {decide.ACTS_HOURLY_MAX} acts an hour of one account manager."),
    "user_unknown": (404, "No such member is known here."),
    "on_oneself": (409, "Nobody does this to themselves."),
    "staff_account": (409, "The staff account is not changed this way."),
    "two_factor_off": (409, "Two-factor is off already."),
    "nothing_held": (409, "No exports of this account are held."),
}
_DONE_AS: dict[ManagerActKind, ChangeKind] = {
    "two_factor.off": "two_factor.disabled",
    "exports.release": "exports.released",
    "number.reset": "number.reset",
    "user.unlock": "user.unlocked",
}


class ManagerRoutes:
    """The handlers, and what they need. `staff_account_id` None: no account is set apart for account managers."""

    def __init__(
        self,
        tools: Tools,
        staff_account_id: UUID | None,
        exceeded: Counter,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._tools = tools
        self._staff_account_id = staff_account_id
        self._exceeded = exceeded
        self._log = log

    def all(self) -> list[Route]:
        """Return the routes. The acts have no name: their bearer is checked here, and is no caller's."""
        return [
            Route("POST", "/v1/manager/accounts/{id}/two-factor/off", self._off),
            Route("POST", "/v1/manager/accounts/{id}/exports/release", self._release),
            Route("POST", "/v1/manager/users/{id}/number/reset", self._reset),
            Route("POST", "/v1/manager/users/{id}/unlock", self._unlock),
            Route("GET", "/v1/manager/acts", self._acts, "manager.read"),
        ]

    async def _off(self, request: web.Request) -> web.Response:
        return await self._act(request, "two_factor.off")

    async def _release(self, request: web.Request) -> web.Response:
        return await self._act(request, "exports.release")

    async def _reset(self, request: web.Request) -> web.Response:
        return await self._act(request, "number.reset")

    async def _unlock(self, request: web.Request) -> web.Response:
        return await self._act(request, "user.unlock")

    async def _act(self, request: web.Request, kind: ManagerActKind) -> web.Response:
        grant, target = bearer_of(request), parse_id(request)
        anywhere = anywhere_of(request, kind)
        called = Called(kind=kind, target=target, anywhere=anywhere, asked=await body(request, ActBody), grant=grant)
        tools = self._tools
        await tools.grants.prepare([grant])
        try:
            async with tools.pool.acquire() as db, db.transaction():
                outcome, due = await self._committed(db, called)
        except ActRefusedError as error:
            raise self._problem_of(error, grant) from None
        tools.publisher.hand(due)
        self._log.info("manager_acted", kind=kind, outcome=outcome, target=str(target))
        return _answer(outcome)

    async def _committed(self, db: Connection, called: Called) -> tuple[ActOutcome, Kept]:
        now = await tables.now_of(db)
        act, staff_account_id = await self._authorised(db, called, now)
        locked = await tables.lock_accounts(db, {staff_account_id, act.account_id}, make=False)
        if act.account_id not in locked:
            raise ProblemError(404, "account_unknown", "No such account is known here.")
        known = await tables.members(db, [one for one in (act.manager_id, act.user_id) if one is not None])
        first = await store.recorded(db, act) if act.kind == "number.reset" else []
        facts = Facts(
            manager=known.get(act.manager_id),
            staff_account_id=staff_account_id,
            account_id=act.account_id,
            two_factor=locked[act.account_id],
            exports_held=await store.is_held(db, act.account_id, now),
            target=None if act.user_id is None else known.get(act.user_id),
            wait=await store.wait_of(db, act.manager_id, now),
            recorded=bool(first),
        )
        if not await tables.spend(db, {act.request_id: f"manager_act.{act.kind}"}, now):
            before = await store.outcome_of(db, act.request_id)
            raise ProblemError(403, "grant_refused", "grant: it was spent before.", spent_as=before)
        outcome = decide.judge_act(act.kind, facts)
        await store.keep(db, act, outcome)
        if outcome == "recorded":
            return outcome, await changes.keep(db, [_change(act, "number.reset_recorded")], now)
        await store.carried_out(db, first)
        return outcome, await self._done(db, act)

    async def _authorised(self, db: Connection, called: Called, now: datetime) -> tuple[Act, UUID]:
        """Return the act if the grant authorises just this, and the staff account. Raises ProblemError 403 and 404."""
        checked = authorised(self._tools, called, self._staff_account_id, now)
        account_id, user_id = await self._target(db, called)
        act = Act(
            request_id=checked.request_id,
            kind=called.kind,
            manager_id=checked.user_id,
            account_id=account_id,
            user_id=user_id,
            anywhere=called.anywhere,
            reason=called.asked.reason,
            ticket=called.asked.ticket,
            ip=called.asked.client.ip,
            at=now,
        )
        return act, self._staff_account_id or checked.account_id

    async def _target(self, db: Connection, called: Called) -> tuple[UUID, UUID | None]:
        """Return the account that is acted on, and the user if it is about one."""
        if called.kind in {"two_factor.off", "exports.release"}:
            return called.target, None
        member = (await tables.members(db, [called.target])).get(called.target)  # nobody changes accounts
        if member is None:
            raise ProblemError(404, "user_unknown", _WORDS["user_unknown"][1])
        return member.account_id, called.target

    async def _done(self, db: Connection, act: Act) -> Kept:
        """Carry the act out."""
        change = _change(act, _DONE_AS[act.kind])
        match act.kind:
            case "two_factor.off":
                await store.turn_off(db, act, self._tools.hold)
            case "exports.release":
                await store.release(db, act.account_id)
            case "number.reset" if act.user_id is not None:
                in_force, given = await store.reset(db, act)
                change = replace(change, old_number_id=in_force, number_id=given)
                await tables.hold_exports(db, [act.user_id], self._tools.hold, act.at)
            case _:
                await store.unlock(db, act)
        return await changes.keep(db, [change], act.at)

    def _problem_of(self, error: ActRefusedError, grant: str) -> ProblemError:
        status, detail = _WORDS[error.kind]
        if error.kind != "too_many_acts":
            return ProblemError(status, error.kind, detail)
        self._exceeded.inc()
        manager_id = self._tools.grants.read(grant).user_id
        self._log.error("manager_acts_exceeded", manager_id=str(manager_id), acts_hourly_max=decide.ACTS_HOURLY_MAX)
        return ProblemError(status, error.kind, detail, retry_after=error.wait.total_seconds() if error.wait else None)

    async def _acts(self, request: web.Request) -> web.Response:
        """Return what was done last, by one account manager or by all."""
        if unknown := request.query.keys() - {"manager_id"}:
            raise ProblemError(400, "unknown_parameter", f"{', '.join(sorted(unknown))}: no such parameter.")
        manager_id = query_id(request, "manager_id") if "manager_id" in request.query else None
        rows = await store.acts(self._tools.pool, manager_id, ACTS_LISTED_MAX)
        acts = [{name: _json(value) for name, value in row.items()} for row in rows]
        return web.json_response({"acts": acts}, headers={"Cache-Control": "no-store"})


def _answer(outcome: ActOutcome) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if outcome == "recorded":
        return web.json_response({"done": False, "needs": "second_manager"}, status=202, headers=headers)
    return web.json_response({"done": True}, headers=headers)


def _change(act: Act, kind: ChangeKind) -> Change:
    return Change(
        kind=kind,
        account_id=act.account_id,
        actor=Actor(kind="account_manager", id=str(act.manager_id)),
        user_id=act.user_id,
        reason=act.reason,
        ticket=act.ticket,
        ip=act.ip,
    )


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | str) else str(value)
