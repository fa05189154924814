"""Only on the local stack: the phones that its SNS sends to, and "act as another computer"."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from countersign.places import unmapped
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.render import see_other
from services.gateway.upstream import UpstreamAway
from services.gateway.visitor import COMPUTER, VISITOR

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.gate import Gate
    from services.gateway.settings import LocalSettings

_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
_TEXTS_A_PHONE_MAX = 20
_BENCHMARKS = IPv4Network("198.18.0.0/15")


def _new_computer() -> str:
    """Draw an address of the range for benchmarks (RFC 2544): 131,072 computers that nobody has."""
    return str(_BENCHMARKS[secrets.randbelow(_BENCHMARKS.num_addresses)])


class _Text(BaseModel):
    model_config = ConfigDict(extra="ignore")

    phone_number: str
    message: str


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
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the texts of every phone, newest first."""
        played = unmapped(request.cookies.get(COMPUTER))
        return self._gate.pages.page(
            request,
            "phone.html",
            phones=await self._phones(),
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

    async def _phones(self) -> list[dict[str, object]]:
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(self._url) as answer:
                seen = _Seen.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            raise UpstreamAway(f"{self._url}: {type(error).__name__}") from error
        texts: dict[str, list[str]] = {}
        for text in reversed(seen.sns.sms):
            texts.setdefault(text.phone_number, []).append(text.message)
        return [{"number": number, "texts": found[:_TEXTS_A_PHONE_MAX]} for number, found in texts.items()]
