"""The routes: what an account looks like, and forgetting places."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from countersign.contract import Actor
from countersign.runtime.web.http import CALLER, ProblemError, Route, parse_id, to_id
from services.enrolment import changes, overview, store
from services.enrolment.model import Change

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.publishing.publisher import Publisher

_QUERY = frozenset({"user_id", "actor_id"})


class Routes:
    """The handlers, and what they need."""

    def __init__(self, pool: Pool, publisher: Publisher, members_need: Literal["given", "confirmed"]) -> None:
        self._pool = pool
        self._publisher = publisher
        self._members_need = members_need

    def all(self) -> list[Route]:
        """Return the routes with the names that callers are allowed by."""
        return [
            Route("GET", "/v1/accounts/{id}", self._see, "accounts.read"),
            Route("DELETE", "/v1/accounts/{id}/places", self._forget_places, "places.forget"),
            Route("DELETE", "/v1/accounts/{id}/places/{place}", self._forget_place, "places.forget"),
        ]

    async def _see(self, request: web.Request) -> web.Response:
        async with self._pool.acquire() as db:
            seen = await overview.see(db, parse_id(request), self._members_need)
        if seen is None:
            raise _no_account()
        return web.Response(
            text=seen.model_dump_json(), content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def _forget_places(self, request: web.Request) -> web.Response:
        return await self._forget(request, None)

    async def _forget_place(self, request: web.Request) -> web.Response:
        return await self._forget(request, _place(request.match_info["place"]))

    async def _forget(self, request: web.Request, place: str | None) -> web.Response:
        """Forget places of an account: all or one, of everybody or of `user_id`. `actor_id` is the member who asks."""
        if unknown := request.query.keys() - _QUERY:
            raise ProblemError(400, "unknown_parameter", f"{', '.join(sorted(unknown))}: no such parameter.")
        account_id = parse_id(request)
        user_id, actor_id = (_optional_id(request, name) for name in ("user_id", "actor_id"))
        async with self._pool.acquire() as db, db.transaction():
            if not await store.lock_accounts(db, [account_id], make=False):
                raise _no_account()
            await _of_account(db, account_id, user_id=user_id, actor_id=actor_id)
            change = Change(
                kind="places.forgotten",
                account_id=account_id,
                actor=_actor(actor_id, request[CALLER]),
                user_id=user_id,
                place=place,
            )
            due = await changes.keep(db, [change], await store.now_of(db))
        self._publisher.hand(due)
        return web.Response(status=204)


async def _of_account(db: Connection, account_id: UUID, *, user_id: UUID | None, actor_id: UUID | None) -> None:
    """Refuse an actor who is no member, and a user who never was one: their places may outlive their membership."""
    known = await store.members(db, [one for one in (user_id, actor_id) if one is not None])
    actor = known.get(actor_id) if actor_id is not None else None
    if actor_id is not None and (actor is None or actor.account_id != account_id or actor.profile is None):
        raise ProblemError(403, "actor_not_allowed", "actor_id: not a member of this account.")
    if user_id is not None and (user_id not in known or known[user_id].account_id != account_id):
        raise ProblemError(404, "user_unknown", "user_id: never a member of this account.")


def _actor(actor_id: UUID | None, caller: str) -> Actor:
    return Actor(kind="system", id=caller) if actor_id is None else Actor(kind="user", id=str(actor_id))


def _place(text: str) -> str:
    try:
        place = str(ip_network(text))
    except ValueError:
        place = ""
    if not place or place != text or "%" in place:  # a zone is of one machine's interfaces, and no place
        raise ProblemError(400, "malformed_place", "place: expected a network such as 203.0.113.7/32, percent-encoded.")
    return place


def _optional_id(request: web.Request, name: str) -> UUID | None:
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise ProblemError(400, "repeated_parameter", f"{name}: given more than once.")
    return to_id(values[0], name) if values else None


def _no_account() -> ProblemError:
    return ProblemError(404, "account_unknown", "No such account is known here.")
