"""Every template in every state and language, rendered without a server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import make_mocked_request

from countersign.client import ChallengeState
from services.gateway import words
from services.gateway.guard import SECURITY_HEADERS
from services.gateway.model import Site
from services.gateway.pages.code import SAID, CodeBox, box_of
from services.gateway.render import Pages
from services.gateway.visitor import VISITOR, Visitor, new_secret

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEMPLATES = files("services.gateway") / "templates"
TEXTS = ("sending", "accepted", "unknown", "refused", "suppressed")


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
    a_box(resend_in=None, tries_left=1),
    a_box(resend_in=timedelta(0), ends_in=timedelta(0)),
]
STATES: list[tuple[str, dict[str, Any]]] = [
    ("login.html", {"email": "", "pending": True}),
    ("login.html", {"email": "<b>@example.com", "pending": False, "problem": "no"}),
    *(("login_code.html", {"state": "code", "title": "t", "box": box}) for box in BOXES),
    ("login_code.html", {"state": "moment", "title": "t", "refresh": 2, "poll": 1}),
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
    *(("problem.html", {"kind": kind, "again": "/"}) for kind in ("away", "broken")),
    ("phone.html", {"phones": [], "computers": [], "computer": "192.0.2.1", "ip": None}),
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
