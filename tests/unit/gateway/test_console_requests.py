"""What the console says of a customer's request: words for every end and every step, in each language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest
from aiohttp.test_utils import make_mocked_request

from countersign.contract import DenialReason, Reason
from countersign.timeline.story import Ending, EndingKind
from services.enrolment.requests_seen import decide as seen
from services.gateway import words
from services.gateway.console import decide_requests as decide
from services.gateway.console.decide_requests import (
    OWN_WORDS,
    TEXT_REASONS,
    TEXT_STATES,
    advice_of,
    lines_of,
    retry_at,
    row_of,
    sentence_of,
    text_of,
)
from services.gateway.console.model import Account, Member, RequestSeen, StepSeen
from services.gateway.model import Site
from services.gateway.render import Pages
from services.gateway.visitor import VISITOR, Visitor, new_secret
from tests.support.settings_pages import a_session

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
OLIVIA = uuid4()
ENDINGS = [
    Ending(kind="granted", with_code=True, attempt=1),
    Ending(kind="granted", with_code=True, attempt=2),
    *(Ending(kind="granted", reason=reason) for reason in ("ip.known", "two_factor.off", None)),
    *(Ending(kind="waiting", tries_left=1, text_state=state) for state in (None, *sorted(TEXT_STATES))),
    *(Ending(kind="denied", reason=reason) for reason in (*get_args(DenialReason), "of.tomorrow")),
    *(Ending(kind="denied", reason="sms.suppressed", text_state="suppressed", text_reason=why) for why in TEXT_REASONS),
    Ending(kind="denied", reason="code.expired", text_state="accepted"),
    *(
        Ending(kind=kind, seconds=idle)
        for idle in (1.0, 300.0)
        for kind in get_args(EndingKind)
        if kind not in {"granted", "denied", "waiting"}
    ),
]
DETAILS: dict[str, list[dict[str, Any]]] = {
    "assessed": [
        {"outcome": outcome, "reasons": [reason], "place": "203.0.113.7/32", "policy_version": "p-1"}
        for outcome in ("allow", "challenge", "deny")
        for reason in (*get_args(Reason), "of.tomorrow")
    ],
    "challenged": [{"attempts_max": 5, "expires_at": "2026-07-01T12:05:00+00:00"}],
    "answered": [{"accepted": True, "tries_left": 4}, {"accepted": False, "tries_left": 1}],
    "denied": [{"reason": reason} for reason in (*get_args(DenialReason), "of.tomorrow")],
    "text.suppressed": [{"send": 1, "reason": reason} for reason in (*TEXT_REASONS, "of.tomorrow")],
}


def a_request(outcome: Ending) -> RequestSeen:
    return RequestSeen(request_id=uuid4(), user_id=OLIVIA, action="login", at=NOON, outcome=outcome)


@pytest.mark.parametrize(
    ("outcome", "sentence", "advice"),
    [
        (ENDINGS[0], "Allowed: the first code that was entered was right.", "the right code was entered"),
        (ENDINGS[1], "Allowed: the code was right at try 2.", "the right code was entered"),
        (Ending(kind="granted", reason="ip.known"), "this address has used the account before", "no code was needed"),
        (Ending(kind="denied", reason="request.stale"), "too old when we looked at it", "start again"),
        (Ending(kind="denied", reason="code.exhausted"), "to the last try", "code of the newest text message"),
        (
            Ending(kind="denied", reason="code.expired", text_state="accepted"),
            "was not entered in time",
            "whether the text message came",
        ),
        (
            Ending(kind="denied", reason="code.expired", text_state="unknown"),
            "was not entered in time",
            "may never have left",
        ),
        (
            Ending(kind="denied", reason="sms.refused", text_state="refused"),
            "could not be delivered",
            "whether the phone can get text messages",
        ),
        (
            Ending(kind="denied", reason="sms.suppressed", text_state="suppressed", text_reason="paused"),
            "did not send",
            "Ask the people on call whether",
        ),
        (Ending(kind="waiting", tries_left=4, text_state="accepted"), "4 tries are left", "newest text message"),
        (Ending(kind="unread", seconds=149.0), "Not decided yet.", "wait a minute"),
        (
            Ending(kind="undecided", seconds=150.0),
            "No decision was made",
            "give the request number to the people on call",
        ),
    ],
)
def test_what_is_said_of_each_end(outcome: Ending, sentence: str, advice: str) -> None:
    """What happened, and what to tell the customer."""
    t = words.load()["en"]
    said = sentence_of(outcome)
    assert sentence in t(said.key, **said.fill)
    assert advice in t(advice_of(outcome))


def test_the_text_is_told_of_where_it_matters() -> None:
    """Not of a request that was granted; of a suppressed one with the reason."""
    assert text_of(Ending(kind="granted", with_code=True, text_state="accepted")) is None
    assert text_of(Ending(kind="denied", reason="locked")) is None
    said = text_of(Ending(kind="denied", reason="sms.suppressed", text_state="suppressed", text_reason="number.hour"))
    assert said is not None
    assert (said.key, said.why) == ("console.text_reason.number_hour", ())
    assert text_of(Ending(kind="denied", reason="sms.refused", text_state="refused", text_reason="x")) is None
    said = text_of(Ending(kind="waiting", text_state="suppressed", text_reason="number.hour"))
    assert said is not None
    assert (said.key, said.why) == ("console.text.suppressed", ("console.text_reason.number_hour",))


def test_when_to_try_again_is_said_while_it_is_to_come() -> None:
    """A time that has passed helps nobody."""
    later = NOON + timedelta(minutes=1)
    assert retry_at(Ending(kind="denied", reason="locked", retry_at=later), NOON) == later
    assert retry_at(Ending(kind="denied", reason="locked", retry_at=later), later) is None
    assert retry_at(Ending(kind="denied", reason="locked"), NOON) is None


def test_every_step_that_enrolment_shows_has_words() -> None:
    """And none other: a step without words is shown by its name."""
    shown = set(seen._SHOWN) | {"export.granted"}  # noqa: SLF001 - its keys are the steps that there are
    assert shown == OWN_WORDS | {"assessed", "challenged", "answered", "denied"}
    said = lines_of([StepSeen(at=NOON, service="tomorrow", what="x.y", detail={})])[0]
    assert (said.said.key, said.service) == ("console.step.other", "other")


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("name", ["Olivia", None])
def test_every_page_of_a_request_renders(language: str, name: str | None) -> None:
    """Each end and each step, of a member and of somebody who is none any more; nothing is left blank."""
    steps = [
        StepSeen(at=NOON, after_ms=1234.5, service="notifier", what=what, detail=detail)
        for what in (*OWN_WORDS, "assessed", "challenged", "answered", "denied", "of.tomorrow")
        for detail in DETAILS.get(what, [{"send": 1, "rows": 3, "ticket": "SUP-1"}])
    ]
    names = {} if name is None else {OLIVIA: name}
    rows = [row_of(a_request(outcome), names) for outcome in ENDINGS]
    lists = rendered(language, "console/requests.html", rows=rows, member=None)
    assert lists.count("<li>") == len(ENDINGS)
    for row in rows:
        outcome = row.request.outcome
        page = rendered(
            language,
            "console/request.html",
            row=row,
            text=text_of(outcome),
            advice=advice_of(outcome),
            retry_at=NOON,
            again="/x" if decide.is_open(outcome) else None,
            lines=lines_of(steps),
        )
        assert page.count("<li>") == len(steps)
        assert "{" not in page
        assert ("Look again" in page or "Noch einmal nachsehen" in page) == decide.is_open(outcome)


def rendered(language: str, template: str, **context: Any) -> str:
    """Return the main part of a page."""
    visitor = Visitor(new_secret(), a_session(), None, words.load()[language])
    request = make_mocked_request("GET", "/")
    request[VISITOR] = visitor
    member = Member(user_id=OLIVIA, role="owner", name="Olivia")
    account = Account(account_id=uuid4(), two_factor=True, members=[member])
    page = Pages(Site.CONSOLE, demo=False).page(request, template, account=account, **context)
    return str(page.text).partition("<main")[2]
