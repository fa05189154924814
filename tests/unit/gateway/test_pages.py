"""Every template in every state and language, rendered without a server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from countersign.client import ChallengeState
from services.gateway import words
from services.gateway.browser_key import BrowserKey
from services.gateway.guard import SECURITY_HEADERS
from services.gateway.model import Site
from services.gateway.pages.code import SAID, CodeBox, box_of
from services.gateway.remark import Remark, RemarkCookie
from services.gateway.render import Pages
from services.gateway.visitor import VISITOR, Visitor, new_secret

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEMPLATES = files("services.gateway") / "templates"
TEXTS = ("sending", "accepted", "unknown", "refused", "suppressed", "slow")
SESSION = SimpleNamespace(name="Ada", method="sms")


def a_box(**over: Any) -> CodeBox:
    box = {
        "number_hint": "+61 ••••••••06",
        "text": "accepted",
        "tries_left": 5,
        "ends_in": timedelta(minutes=4),
        "resend_in": timedelta(seconds=25),
    }
    return CodeBox(**{**box, **over})


BOXES = [
    *(a_box(text=text) for text in TEXTS),
    a_box(resend_in=None, tries_left=1, newest_at=NOON),
    a_box(text="sending", newest_at=NOON),
    a_box(resend_in=timedelta(0), ends_in=timedelta(0)),
]
STATES: list[tuple[str, dict[str, Any]]] = [
    ("login.html", {"email": "", "pending": True}),
    ("login.html", {"email": "<b>@example.com", "pending": False, "problem": "no"}),
    *(("login_code.html", {"state": "code", "title": "t", "box": box}) for box in BOXES),
    ("login_code.html", {"state": "moment", "title": "t", "refresh": 2, "poll": 1}),
    ("login_code.html", {"state": "moment", "title": "t", "refresh": 2, "poll": 1, "slow": True}),
    ("login_code.html", {"state": "given_up", "title": "t"}),
    *(
        ("login_code.html", {"state": "denied", "title": "t", "kind": kind, "retry_in": wait})
        for kind in {*SAID.values(), "unfit"}
        for wait in (None, timedelta(hours=3))
    ),
    *(
        (
            "export.html",
            {
                "state": state,
                "title": "t",
                "path": "/exports/x",
                "name": "Newsletter",
                "facts": {"format": "csv", "rows": 3},
                "box": a_box(),
                "ready_for": timedelta(minutes=14),
                "kind": "locked",
                "retry_in": timedelta(minutes=2),
            },
        )
        for state in ("code", "moment", "file", "ready", "denied", "failed", "expired")
    ),
    *(("problem.html", {"kind": kind, "again": "/"}) for kind in ("not_found", "forbidden", "bad", "too_large")),
    *(("problem.html", {"kind": kind, "again": "/"}) for kind in ("away", "broken", "back")),
    ("phone.html", {"phones": [], "people": [], "console": "", "computers": [], "computer": "192.0.2.1", "ip": None}),
]


def rendered(template: str, language: str, **context: Any) -> str:
    request = make_mocked_request("GET", "/")
    request[VISITOR] = Visitor(new_secret(), None, "192.0.2.7", words.load()[language])
    text = Pages(Site.PAGES, demo=True).page(request, template, **context).text
    assert text is not None
    return text


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(("template", "context"), STATES)
def test_every_state_has_words(template: str, context: dict[str, Any], language: str) -> None:
    """Nothing undefined, no blank left open, one heading, nothing in the page that the policy forbids."""
    page = rendered(template, language, **context)
    assert page.count("<h1>") == 1
    assert not re.search(r"\{\w*\}", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", page)
    assert "<b>@" not in page


def test_the_number_is_kept_in_one_piece() -> None:
    """And in its own direction, whatever the page's is."""
    assert "<bdi>+61 ••••••••06</bdi>" in rendered("login_code.html", "en", state="code", title="t", box=a_box())


def test_a_page_that_waits_refreshes_only_without_a_script() -> None:
    """The refresh stands in noscript: with a script the page looks again without being loaded."""
    page = rendered("login_code.html", "en", state="moment", title="t", refresh=2, poll=1)
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert 'data-poll="1"' in page


def test_every_form_carries_its_token() -> None:
    """A form that changes something without it would be refused."""
    for entry in Path(str(TEMPLATES)).rglob("*.html"):
        for form in re.findall(r'<form method="post".*?</form>', entry.read_text(), re.DOTALL):
            assert "csrf()" in form, entry.name


def test_the_policy_lets_nothing_in() -> None:
    """No inline code, no frames, no foreign forms."""
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("resend_after", "resend_in"),
    [(None, None), (NOON - timedelta(1), timedelta(0)), (NOON + timedelta(seconds=9), timedelta(seconds=9))],
)
def test_when_another_text_can_be_asked_for(resend_after: datetime | None, resend_in: timedelta | None) -> None:
    """Never, now, later."""
    challenge = ChallengeState(
        challenge_id=uuid4(),
        number_hint="+61 ••06",
        expires_at=NOON - timedelta(seconds=1),
        resend_after=resend_after,
        tries_left=5,
        text="sending",
    )
    box = box_of(challenge, NOON)
    assert box.resend_in == resend_in
    assert box.ends_in == timedelta(0)


@pytest.mark.parametrize(
    ("read_before", "ends_in"),
    [(timedelta(0), timedelta(minutes=5)), (timedelta(seconds=2), timedelta(minutes=5))],
)
def test_a_code_is_never_good_for_longer_than_its_limit(read_before: timedelta, ends_in: timedelta) -> None:
    """Also where the time was read before the challenge was made."""
    challenge = ChallengeState(
        challenge_id=uuid4(),
        number_hint="+61 ••06",
        expires_at=NOON + timedelta(minutes=5),
        tries_left=5,
        text="sending",
        sent_at=NOON,
    )
    assert box_of(challenge, NOON - read_before).ends_in == ends_in
    assert box_of(challenge, NOON + timedelta(seconds=15)).text == "sending"
    assert box_of(challenge, NOON + timedelta(seconds=16)).text == "slow"
    again = challenge.model_copy(update={"send": 2, "text": "accepted"})
    page = rendered("login_code.html", "en", state="code", title="t", box=box_of(again, NOON))
    assert "at <time" in page
    assert "12:00 UTC</time>. Use the newest text." in page


def test_a_remark_is_told_once_and_to_its_browser() -> None:
    """Sealed for the secret of the browser that sent the form; anything else is no remark."""
    key, mine = BrowserKey(b"k" * 32), new_secret()
    cookie = RemarkCookie.of(Site.PAGES, key, secure=False)
    response = web.Response()
    cookie.write(response, mine, Remark(text="This code is not right.", problem=True, email="ada@example.com"))
    value = response.cookies["remark"].value
    assert "ada" not in value
    for given, secret, found in (
        (value, mine, "This code is not right."),
        (value, new_secret(), None),
        (value[:-2] + "AA", mine, None),
        ("x", mine, None),
        ("", mine, None),
        ("A" * 5_000, mine, None),
    ):
        request = make_mocked_request("GET", "/", headers={"Cookie": f"remark={given}"})
        read = cookie.read(request, secret)
        assert (read.text if read is not None else None) == found
    assert len(value) < 3_000


def test_a_page_tells_the_remark_that_was_left_for_it() -> None:
    """In its form, or above the page; a page that comes instead of another leaves it for that one."""
    for template, context, told in (
        ("login.html", {"email": "a@example.com", "pending": False}, True),
        ("home.html", {"exports": [], "session": SESSION}, True),
        ("problem.html", {"kind": "away", "again": "/"}, False),
    ):
        request = make_mocked_request("GET", "/")
        visitor = Visitor(new_secret(), None, None, words.load()["en"])
        visitor.remark = Remark(text="It did not work.", problem=True)
        request[VISITOR] = visitor
        page = Pages(Site.PAGES, demo=False).page(request, template, **context).text or ""
        assert page.count("It did not work.") == visitor.remark_told == told
        assert page.count('role="alert"') == told


def test_an_id_of_a_form_follows_from_the_browser() -> None:
    """The same form twice is the same id; another browser, code or form is another."""
    mine, other = (Visitor(new_secret(), None, None, words.load()["en"]) for _ in range(2))
    assert mine.id_of("answer", "x", "123456") == mine.id_of("answer", "x", "123456")
    ids = {mine.id_of("answer", "x", "123456"), other.id_of("answer", "x", "123456"), mine.id_of("answer", "x", "1")}
    assert len(ids) == 3
    assert mine.csrf_fits(mine.csrf_token())
    assert not mine.csrf_fits(other.csrf_token())
    assert not mine.csrf_fits("é")
    assert mine.secret not in repr(mine)
