"""People who log in and export, as gateway and pages would have it, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from countersign.client import session_digest
from countersign.contract import challenge_id_of
from tests.support.events import a_client, a_member_set, an_access_requested, outgoing
from tests.support.upstream import Upstream, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from countersign.runtime.messages.cloudevents import Event
    from tests.support.fleet import Fleet
    from tests.support.people import Person
    from tests.support.sns_stand_in import Publish, SnsStandIn

Ending = Literal["answer", "exhaust", "resend", "cancel", "expire"]
DECIDED_WITHIN = 120.0  # seconds; whatever was killed is up again by then, and whatever hung has let go
TEXT_PATIENCE = 6.0  # how long a person looks at the phone before they ask for another text or give up

SESSION = session_digest("the secret of the one session that everybody here exports from")

LET_EXPIRE = """
UPDATE verifier.challenge SET expires_at = clock_timestamp() WHERE challenge_id = $1 AND closed_at IS NULL
   AND expires_at > clock_timestamp()
"""

LET_WAIT = "UPDATE verifier.send SET issued_at = issued_at - interval '30 seconds' WHERE challenge_id = $1"


class UndecidedError(AssertionError):
    """Somebody waits in vain."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller was told about an answer."""

    challenge_id: UUID
    answer_id: UUID
    verdict: str
    tries_left: int
    grant: str | None = field(default=None, repr=False)


@dataclass
class Driver:
    """Plays the gateway, the pages and the phones. `told` is every reply to an answer, `requests` what was asked."""

    fleet: Fleet
    sns: SnsStandIn
    db: asyncpg.Pool[asyncpg.Record]
    http: aiohttp.ClientSession
    upstream: Upstream
    patience: float = TEXT_PATIENCE
    told: list[Told] = field(default_factory=list)
    requests: list[UUID] = field(default_factory=list)
    files: dict[UUID, int] = field(default_factory=dict)
    _texts: defaultdict[str, list[Publish]] = field(default_factory=lambda: defaultdict(list))
    _looked: int = 0

    # Kafka

    async def publish(self, event: Event) -> None:
        """Publish as an upstream would."""
        await self.upstream.send(outgoing(event))

    async def ask_login(self, person: Person, computer: str, *, twice: bool = False) -> UUID:
        """Publish the request of a login; `twice`, as a producer that doubts does."""
        event = an_access_requested(account_id=person.account_id, user_id=person.user_id, client=a_client(ip=computer))
        self.requests.append(event.request_id)
        for _ in range(1 + twice):
            await self.publish(event)
        return event.request_id

    async def set_member(self, person: Person, version: int) -> None:
        """Say a newer word about somebody, as the platform does."""
        await self.publish(
            a_member_set(
                account_id=person.account_id,
                user_id=person.user_id,
                version=version,
                role="owner",
                name=f"Ada {version}",
            )
        )

    # HTTP

    async def call(self, method: str, url: str, within: float = DECIDED_WITHIN, **over: Any) -> tuple[int, Any, float]:
        """Call until somebody answers with less than 500; return status, body and what Retry-After says."""
        until = _seconds() + within
        while True:
            try:
                async with self.http.request(method, url, **over) as reply:
                    if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                        raw = await reply.read()
                        content = await reply.json(content_type=None) if raw and "json" in reply.content_type else raw
                        return reply.status, content, float(reply.headers.get("Retry-After", 0))
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            if _seconds() > until:
                raise UndecidedError(f"{method} {url}: no answer within {within:.0f} s")
            await asyncio.sleep(0.1)

    async def state(self, request_id: UUID, *, past: bool = False) -> Mapping[str, Any]:
        """Wait until a request is challenged or decided; `past`, until it is decided."""
        until = _seconds() + DECIDED_WITHIN
        query = {"wait": "5"} | ({"past": "challenged"} if past else {})
        while True:
            status, content, _ = await self.call("GET", f"{self._verifier}/v1/requests/{request_id}", params=query)
            if status == HTTPStatus.OK and (content["state"] != "challenged" or not past):
                state: Mapping[str, Any] = content
                return state
            if _seconds() > until:
                raise UndecidedError(f"request {request_id}: {content}")

    async def answer(self, challenge_id: UUID, code: str) -> str:
        """Answer until the answer is judged; return the verdict, or `wait`."""
        body = {"code": code, "answer_id": str(uuid4())}
        url = f"{self._verifier}/v1/challenges/{challenge_id}/answers"
        while True:
            status, content, after = await self.call("POST", url, json=body)
            if status == HTTPStatus.OK:
                self.told.append(
                    Told(
                        challenge_id,
                        UUID(body["answer_id"]),
                        content["verdict"],
                        content["tries_left"],
                        content["grant"],
                    )
                )
                return str(content["verdict"])
            assert status == HTTPStatus.TOO_MANY_REQUESTS, (status, content)
            if content["type"].endswith("crowded"):
                await asyncio.sleep(after)
                continue
            return "wait"

    async def resend(self, challenge_id: UUID) -> bool:
        """Ask for a further text as soon as that is allowed; False if it never will be."""
        while True:
            status, _, after = await self.call("POST", f"{self._verifier}/v1/challenges/{challenge_id}/sends")
            if status != HTTPStatus.TOO_MANY_REQUESTS:
                return status == HTTPStatus.ACCEPTED
            await asyncio.sleep(max(0.2, after))

    async def cancel(self, challenge_id: UUID) -> None:
        """Give up."""
        await self.call("DELETE", f"{self._verifier}/v1/challenges/{challenge_id}")

    async def let_expire(self, challenge_id: UUID) -> None:
        """Let the time of a challenge be over, by the clock that counts."""
        await self.db.execute(LET_EXPIRE, challenge_id)

    async def forget_places(self, person: Person) -> None:
        """Forget where somebody logged in from."""
        url = f"{self.fleet.url('enrolment')}/v1/accounts/{person.account_id}/places"
        who = {"user_id": str(person.user_id), "actor_id": str(person.user_id)}
        status, content, _ = await self.call("DELETE", url, params=who)
        assert status in {HTTPStatus.NO_CONTENT, HTTPStatus.FORBIDDEN}, content

    async def ask_export(self, person: Person, computer: str) -> UUID:
        """Ask for an export, with the same id until the answer comes."""
        export_id = uuid4()
        body = {
            "account_id": str(person.account_id),
            "user_id": str(person.user_id),
            "list_id": str(person.list_id),
            "format": "csv",
            "client": {"ip": computer, "locale": "en"},
            "export_id": str(export_id),
            "session": SESSION,
        }
        status, content, _ = await self.call("POST", f"{self.fleet.url('exports')}/v1/exports", json=body)
        assert status == HTTPStatus.ACCEPTED, content
        self.requests.append(export_id)
        return export_id

    async def fetch_file(self, person: Person, export_id: UUID) -> None:
        """Wait for an export's file and fetch it."""
        who = {"account_id": str(person.account_id), "user_id": str(person.user_id), "session": SESSION}
        url = f"{self.fleet.url('exports')}/v1/exports/{export_id}"
        until = _seconds() + DECIDED_WITHIN
        while (shown := (await self.call("GET", url, params=who))[1])["state"] != "ready":
            if shown["state"] != "waiting" or _seconds() > until:
                raise UndecidedError(f"export {export_id}: {shown}")
            await asyncio.sleep(0.1)
        status, content, _ = await self.call("GET", f"{url}/file", params=who)
        assert status == HTTPStatus.OK, content
        self.files[export_id] = len(content.splitlines()) - 1

    @property
    def _verifier(self) -> str:
        return self.fleet.url("verifier")

    # phones

    def texts(self, number: str) -> list[Publish]:
        """Return what a phone shows, oldest first."""
        while self._looked < len(self.sns.publishes):
            text = self.sns.publishes[self._looked]
            self._texts[text.number].append(text)
            self._looked += 1
        return self._texts[number]

    async def next_text(self, number: str, seen: int, request_id: UUID) -> str | None:
        """Wait for a text beyond those seen; return its code, or None if none comes or all is over."""
        began = looked = _seconds()
        while len(self.texts(number)) <= seen:
            await asyncio.sleep(0.03)
            if _seconds() - looked > 1.0:
                looked = _seconds()
                if looked - began > self.patience or (await self.state(request_id))["state"] != "challenged":
                    return None
        return self.texts(number)[-1].code

    # a request from its challenge to its end

    async def finish(
        self, person: Person, request_id: UUID, *, seen: int, ending: Ending = "answer", wrong: int = 0
    ) -> str:
        """Bring a request to its end, `seen` texts having come before; return `granted` or why it was denied."""
        state = await self.state(request_id)
        if state["state"] == "challenged":
            await self._end(person, request_id, seen, ending, wrong)
            state = await self.state(request_id, past=True)
        return str(state["reason"] or state["state"])

    async def _another_text(self, person: Person, request_id: UUID, seen: int) -> str | None:
        """Let the 30 s pass before which no further text may be asked for, and ask; return its code."""
        challenge_id = challenge_id_of(request_id)
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # while it is away, they pass by waiting
            await self.db.execute(LET_WAIT, challenge_id)
        return await self.next_text(person.number, seen, request_id) if await self.resend(challenge_id) else None

    async def _end(self, person: Person, request_id: UUID, seen: int, ending: Ending, wrong: int) -> None:
        challenge_id = challenge_id_of(request_id)
        code = await self.next_text(person.number, seen, request_id)
        if code is None and ending == "answer":
            code = await self._another_text(person, request_id, seen)
        if code is None or ending == "cancel":
            await self.cancel(challenge_id)
            return
        match ending:
            case "expire":
                await self.let_expire(challenge_id)
            case "resend":
                await self.answer(challenge_id, await self._another_text(person, request_id, seen + 1) or code)
            case "exhaust":
                while await self.answer(challenge_id, other_than(code)) == "wrong":
                    pass
            case _:
                for _ in range(wrong):
                    await self.answer(challenge_id, other_than(code))
                if await self.answer(challenge_id, code) == "wrong":  # that was the text before
                    await self.cancel(challenge_id)


def other_than(code: str) -> str:
    """Return a code that is not this one."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def _seconds() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def driver_of(fleet: Fleet, sns: SnsStandIn, db: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[Driver]:
    """Open what a driver needs."""
    bearer = {"Authorization": f"Bearer {fleet.bearer}"}
    async with (
        upstream(fleet.servers.kafka) as kafka,
        aiohttp.ClientSession(headers=bearer, timeout=aiohttp.ClientTimeout(total=15)) as http,
    ):
        yield Driver(fleet, sns, db, http, kafka)
