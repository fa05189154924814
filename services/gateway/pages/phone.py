"""Only on the local stack: the phones that its SNS sends to, the demonstration's log-ins, "act as another computer"."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from countersign.places import unmapped
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.render import see_other
from services.gateway.upstream import UpstreamAwayError
from services.gateway.visitor import COMPUTER, VISITOR

if TYPE_CHECKING:
    from datetime import datetime

    from aiohttp import web

    from services.gateway.gate import Gate
    from services.gateway.settings import LocalSettings

_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
_TEXTS_A_PHONE_MAX = 20
_LOOKED_LATELY = timedelta(seconds=6)  # the page looks every 2 s while it is open; SNS does not tell times
_BENCHMARKS = IPv4Network("198.18.0.0/15")


def _new_computer() -> str:
    """Draw an address of the range for benchmarks (RFC 2544): 131,072 computers that nobody has."""
    return str(_BENCHMARKS[secrets.randbelow(_BENCHMARKS.num_addresses)])


class _Text(BaseModel):
    model_config = ConfigDict(extra="ignore")

    message_id: str
    phone_number: str
    message: str


class DemoPerson(BaseModel):
    """One of the demonstration's people, as the seed file has them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    role: str
    email: str
    password: str = Field(repr=False)
    number: str = Field(repr=False)


class _Seed(BaseModel):
    model_config = ConfigDict(extra="ignore")

    people: tuple[DemoPerson, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A text on a phone: it came at `at`, or, where nobody had looked for a while, at some time before it."""

    message: str
    at: datetime
    exact: bool


@dataclass(slots=True)
class Phone:
    """A phone, whose it is if that is known, and its texts, newest first."""

    number: str
    name: str | None
    texts: list[Shown] = field(default_factory=list)


class _Sns(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sms: list[_Text] = Field(default=[], alias="SMS")


class _Seen(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sns: _Sns = _Sns()


class PhonePages:
    """GET and POST /phone. Made only where the settings name a local SNS."""

    def __init__(self, gate: Gate, local: LocalSettings) -> None:
        self._gate = gate
        self._url = f"{str(local.sns_url).rstrip('/')}/moto-api/data.json"
        self._computers = local.computers
        self._people = _Seed.model_validate_json(local.seed_file.read_bytes()).people if local.seed_file else ()
        self._came: dict[str, Shown] = {}
        self._looked_at: datetime | None = None
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show every phone, the demonstration's in its own order, and who can log in."""
        played = unmapped(request.cookies.get(COMPUTER))
        return self._gate.pages.page(
            request,
            "phone.html",
            phones=await self._phones(),
            people=self._people,
            console=str(self._gate.settings.console_url).rstrip("/"),
            computers=self._computers,
            computer=str(played) if played is not None else None,
            ip=request[VISITOR].ip,
            state="phones",
            poll=2,
            refresh=5,
        )

    async def act_as(self, request: web.Request) -> web.Response:
        """Let this browser seem to come from another address, or from its own again."""
        form = await form_of(request, self._origin)
        asked = _new_computer() if form.get("do") == "new" else form.get("computer", "").strip()
        address = unmapped(asked)
        if asked and address is None:
            request[VISITOR].leave(request[VISITOR].words("phone.bad_address"), problem=True)
            return see_other("/phone")
        response = see_other("/phone")
        if address is None:
            response.del_cookie(COMPUTER, path="/")
        else:
            secure = self._origin.startswith("https:")
            response.set_cookie(COMPUTER, str(address), path="/", secure=secure, httponly=True, samesite="Lax")
        return response

    async def _phones(self) -> list[Phone]:
        texts = await self._texts()
        now: datetime = await self._gate.pool.fetchval("SELECT now()")
        exact = self._looked_at is not None and now - self._looked_at < _LOOKED_LATELY
        self._looked_at = now
        self._came = {
            text.message_id: self._came.get(text.message_id) or Shown(text.message, now, exact) for text in texts
        }
        phones = {person.number: Phone(person.number, person.name) for person in self._people}
        for text in texts:
            phone = phones.setdefault(text.phone_number, Phone(text.phone_number, None))
            phone.texts = [self._came[text.message_id], *phone.texts][:_TEXTS_A_PHONE_MAX]
        return list(phones.values())

    async def _texts(self) -> list[_Text]:
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(self._url) as answer:
                return _Seen.model_validate_json(await answer.read()).sns.sms
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            raise UpstreamAwayError(f"{self._url}: {type(error).__name__}") from error
