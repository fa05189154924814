"""The main job, done on the real pages and told: a login from a new computer, an export, a login from a known one."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from deploy.local.browser import Browser, Page
from deploy.local.decisions_seen import Watch
from deploy.local.phone import Phone, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from countersign.runtime.broker.kafka import KafkaConnection
    from deploy.local.decisions_seen import Seen

T = TypeVar("T")

_BECAUSE = {
    "two_factor.off": "two-factor is off for the account",
    "ip.known": "the account has used this address before",
    "ip.new": "nobody has used this address with the account before",
    "ip.absent": "the address is not known",
    "export.always": "every export of a protected account asks for a code",
    "action.always": "this always asks for a code",
}


_LOOK = "Look whether verifier.log says more"
_DENIED = {
    "sms.suppressed": ("a limit on texts held the text back", "`make limits` shows the limits (policy.texts)"),
    "sms.refused": ("the text can never be delivered to that number", "Look whether notifier.log says why"),
    "locked": ("too many wrong codes were given", "An account manager can unlock the user"),
    "code.expired": ("nobody gave the code in time", "Start again: make demo"),
    "code.exhausted": ("too many wrong codes were given for it", "Start again: make demo"),
    "cancelled": ("it was given up, or newer requests took its place", "Start again: make demo"),
    "number.recent": ("exports are held back after a change of number or setting", "An account manager can release it"),
    "number.missing": ("the member has no number that a code may go to", "Start with new data: make clean, make run"),
    "request.stale": ("the services were too busy to read it in time", "Start again when they are not: make demo"),
}


class StoppedError(Exception):
    """The transcript could not go on; the text says at which page."""


@dataclass(frozen=True)
class Stage:
    """Where the transcript plays: the running stack's addresses and the demonstration's owner."""

    gateway_url: str
    sns_url: str
    kafka: KafkaConnection
    superuser_dsn: str
    account_id: str
    owner: Mapping[str, str]


def words_of(error: BaseException) -> str:
    """Return what an exception says, never nothing: the text of a TimeoutError, for one, is empty."""
    if isinstance(error, TimeoutError):
        return f"a page did not answer in time ({type(error).__name__}{f': {error}' if str(error) else ''})"
    return str(error) or type(error).__name__


async def perform(stage: Stage, say: Callable[[str], None]) -> None:
    """Perform all three parts. Raises StoppedError, TimeoutError."""
    address = await _unused_address(stage)
    phone = Phone(stage.sns_url, stage.owner["number"])
    await phone.pick_up()
    async with Watch(stage.kafka, stage.owner["user_id"]) as watch:
        told = _Told(watch, phone, say)
        async with Browser(stage.gateway_url, address) as computer:
            say(f"\n1. {stage.owner['name']} logs in from a computer that is new to the account ({address})")
            await _log_in(computer, stage, told, coded=True)
            say("\n2. The same person exports a contact list")
            await _export(computer, told)
        async with Browser(stage.gateway_url, address) as computer:
            say(f"\n3. A login from that computer, which is known now ({address}), in a fresh browser")
            await _log_in(computer, stage, told, coded=False)


class _Told:
    """Says what happened, why, and how long it took."""

    def __init__(self, watch: Watch, phone: Phone, say: Callable[[str], None]) -> None:
        self._watch = watch
        self.phone = phone
        self._say = say

    def line(self, what: str, text: str, milliseconds: float | None = None) -> None:
        took = "" if milliseconds is None else f"{milliseconds:.0f} ms"
        self._say(f"{took:>10}  {what:<9}{text}")

    async def assessment(self, action: str) -> None:
        try:
            seen = await self._watch.assessment(action)
        except TimeoutError:
            raise StoppedError(
                f"nothing was decided about the {action} request within 20 s: its state is still unknown, as no "
                "assessment of it came. Look whether risk_evaluator.log says why"
            ) from None
        self.line("decided", _words(seen))

    async def decision(self, action: str) -> None:
        try:
            seen = await self._watch.decision(action)
        except TimeoutError:
            raise StoppedError(
                f"the {action} request has no decision 20 s after its code was given: its state is still challenged. "
                "Look whether verifier.log says why"
            ) from None
        if not seen.granted:
            raise StoppedError(words_of_denial(seen))
        how = "a code by SMS" if seen.data["method"] == "sms" else "no code needed"
        self.line("granted", f"{how}; signed grant for this one request, {seen.data['request_id']}")

    async def text(self, action: str, since: float) -> Text:
        try:
            text = await self.phone.next_text()
        except TimeoutError:
            denied = await self._watch.denial(action)
            raise StoppedError(
                words_of_denial(denied)
                if denied
                else f"no text for the {action} request came within 20 s: its state is challenged, and nothing says "
                "that the text was held back. Look whether notifier.log and sns.log say why"
            ) from None
        first, *rest = text.message.splitlines()
        self.line("phone", f"{text.number}  {first}", _since(since))
        for line in rest:
            self.line("", f"{'':{len(text.number)}}  {line}")
        return text


async def _log_in(computer: Browser, stage: Stage, told: _Told, *, coded: bool) -> None:
    page = await computer.get("/login")
    form = page.form_with("password") or _stop(page, "a form with a password")
    began = time.monotonic()
    page = await computer.submit(page, form, email=stage.owner["email"], password=stage.owner["password"])
    page = await _past_moment(computer, page)
    took = _since(began)
    if not coded:
        await told.assessment("login")
        await told.decision("login")
        _expect(page, page.form_with("password") is None and page.form_with("code") is None, "the signed-in page")
        told.line("page", "straight in: no code asked for", took)
        return
    told.line("page", "e-mail and password are right: asks for a code", took)
    await told.assessment("login")
    page, took = await _give_code(computer, page, told, "login", began)
    await told.decision("login")
    _expect(page, page.form_with("code") is None and page.form_with("password") is None, "the signed-in page")
    told.line("page", "signed in", took)


async def _export(computer: Browser, told: _Told) -> None:
    page = await computer.get("/contacts")
    if page.form_with("format") is None:
        lists = [link for link in page.links if "list=" in link]
        page = await computer.get(lists[0] if lists else _stop(page, "a contact list"))
    form = page.form_with("format") or _stop(page, "a form that asks for a format")
    began = time.monotonic()
    page = await _past_moment(computer, await computer.submit(page, form))
    told.line("page", "the export waits: asks for a code", _since(began))
    await told.assessment("export")
    page, _ = await _give_code(computer, page, told, "export", began)
    coded = time.monotonic()
    page = await _past_moment(computer, page)
    await told.decision("export")
    files = [link for link in page.links if link.endswith("/file")]
    file = await computer.get(files[0] if files else _stop(page, "a link to the file"))
    rows = len(file.body.decode().splitlines()) - 1
    told.line("file", f"{rows} contacts as CSV, {len(file.body)} bytes, here for 15 minutes", _since(coded))


async def _give_code(computer: Browser, page: Page, told: _Told, action: str, began: float) -> tuple[Page, float]:
    text = await told.text(action, began)
    form = page.form_with("code") or _stop(page, "a box for the code")
    began = time.monotonic()
    page = await computer.submit(page, form, code=text.code)
    return page, _since(began)


async def _past_moment(computer: Browser, page: Page) -> Page:
    """Wait as the page itself does while it shows "one moment"."""
    for _ in range(200):
        if page.state not in {"moment", "file"}:
            return page
        await asyncio.sleep(0.1)
        page = await computer.get(page.url)
    return _stop(page, "an end of waiting")


def words_of_denial(seen: Seen) -> str:
    """Return in words what was denied, the reason, and what to do."""
    reason, retry_at = str(seen.data.get("reason")), seen.data.get("retry_at")
    what, then = _DENIED.get(reason, ("the README's list of reasons says what that means", _LOOK))
    if retry_at:
        then = f"Try again after {retry_at}"
    return f"the {seen.data['action']} request was denied: {reason} ({what}). {then}"


def _words(seen: Seen) -> str:
    reasons = "; ".join(f"{reason} ({_BECAUSE.get(reason, 'see the policy')})" for reason in seen.data["reasons"])
    return f"{seen.data['outcome']}: {reasons}"


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000


def _expect(page: Page, held: bool, what: str) -> None:
    if not held:
        _stop(page, what)


def _stop(page: Page, what: str) -> T:  # type: ignore[type-var] # never returns, fits any place
    raise StoppedError(f"{page.url} (status {page.status}, state {page.state or 'none'}) does not show {what}")


async def _unused_address(stage: Stage) -> str:
    """Return an address of the ranges for documentation (RFC 5737, RFC 3849) that the account has not used."""
    connection = await asyncpg.connect(stage.superuser_dsn)
    try:
        places = "SELECT host(place::inet) FROM risk_evaluator.known_place WHERE account_id = $1::text::uuid"
        used = {row[0] for row in await connection.fetch(places, stage.account_id)}
    finally:
        await connection.close()
    candidates = [f"{net}.{host}" for net in ("198.51.100", "203.0.113") for host in range(1, 255)]
    free = [address for address in candidates if address not in used]
    return secrets.choice(free) if free else f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
