"""Each template of the settings pages in each state and language, rendered without a server."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import make_mocked_request

from services.gateway import words
from services.gateway.model import Site
from services.gateway.pages.code import CodeBox
from services.gateway.render import Pages
from services.gateway.settings import AccountManagerSettings
from services.gateway.settings_pages import decide
from services.gateway.settings_pages.model import Account, Activity, Block, Said
from services.gateway.visitor import VISITOR, Visitor, new_secret
from tests.support.settings_pages import ME, NOON, OTHER, a_draft, a_member, a_number, a_place, a_session

if TYPE_CHECKING:
    from collections.abc import Iterator

MANAGER = AccountManagerSettings(name="Dana Reyes", email="dana@platform.example")
BOX = CodeBox(
    number_hint="+61 ••••••••06",
    text="accepted",
    tries_left=5,
    ends_in=timedelta(minutes=4),
    resend_in=timedelta(seconds=25),
)
QUIET: dict[str, Any] = {"problems": (), "typed": {}, "problem_of": {}}
COMMON: dict[str, Any] = {
    **QUIET,
    "other": False,
    "step_tag": "tag",
    "code_box": BOX,
    "kind": "locked",
    "retry_in": None,
    "here": "account",
}
CODED = ("moment", "code", "right", "denied", "given_up")


def overviews() -> Iterator[dict[str, Any]]:
    """Yield the Overview in each of its states."""
    confirmed, given = {"number": a_number()}, {"given_number": a_number("provided")}
    places = [a_place("10.0.0.1/32", here=True), a_place("2001:db8::/64")]
    activity = [
        (Activity(at=NOON, place=None, action="login", outcome="cancelled", challenge_id=None), "over"),
        (Activity(at=NOON, place="10.0.0.1/32", action="export", outcome="granted", challenge_id=uuid4()), "granted"),
    ]
    for me in (a_member(**confirmed), a_member(**given), a_member(), a_member(role="managed", **given)):
        for on in (True, False):
            members = [me, a_member(OTHER, "managed"), a_member(uuid4(), "managed", **given)]
            account = Account(two_factor=on, two_factor_since=NOON if on else None, members=members)
            section = decide.security_of(account, me)
            for state in ("overview", *CODED) if section == "form" else ("overview",):
                yield {
                    "account": account,
                    "me": me,
                    "people": decide.people_page(members, ME, ""),
                    "places": places,
                    "places_more": 3,
                    "activity": activity,
                    "section": section,
                    "state": state,
                    "draft": None if state == "overview" else a_draft(),
                    "step": 1,
                    "held_until": NOON + timedelta(hours=1) if on else None,
                    "blocked_by": [Block(user_id=OTHER, name="Max", reason="number.missing")],
                    "warned": [members[2]],
                }


def numbers() -> Iterator[dict[str, Any]]:
    """Yield the pages of a number in each of their states."""
    confirmed, given = a_member(number=a_number()), a_member(given_number=a_number("provided"))
    for own in (True, False):
        for member in (confirmed, given, a_member()):
            page = {"member": member, "own": own, "path": "/account/number", "protected": own}
            yield {**page, "state": "form"}
            for state in CODED:
                for needs in ("confirm_number", "change_number", "manage_member"):
                    yield {**page, "state": state, "draft": a_draft(needs=needs, steps=2), "step": 1}


SAYS = [
    {},
    {"done": "done"},
    {"problem": "of another form"},
    {
        "problems": (Said("no", "#number"), Said("<i>", None)),
        "problem_of": {"#number": "no", "#two_factor": "no", "#password": "no"},
        "problem": "wrong",
        "typed": {"number": "<b>", "two_factor": "on", "seen 10.0.0.1/32": "1"},
    },
]
PAGES = [
    *(("settings/overview.html", page) for page in overviews()),
    *(("settings/number.html", page) for page in numbers()),
    ("settings/password.html", {"to": "/account"}),
    ("settings/help.html", {}),
]


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("manager", [MANAGER, None], ids=["named", "unnamed"])
def test_every_state_has_words(language: str, manager: AccountManagerSettings | None) -> None:
    """Nothing undefined, no blank left open, one heading, no id twice, nothing that the policy forbids."""
    pages, t = Pages(Site.PAGES, demo=True), words.load()[language]
    for template, context in PAGES:
        for says in SAYS:
            request = make_mocked_request("GET", "/")
            request[VISITOR] = Visitor(new_secret(), a_session(), "192.0.2.7", t)
            text = pages.page(request, template, **{**COMMON, **context, **says, "account_manager": manager}).text
            assert text is not None
            assert text.count("<h1>") == 1, (template, context)
            assert not re.search(r"\{\w*\}", text), (template, context)
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", text)
            assert not re.search(r"<b>|<i>", text)
            ids = re.findall(r'\sid="([^"]+)"', text)
            assert len(ids) == len(set(ids)), (template, sorted(ids))
            assert text.count('method="post"') == text.count('name="csrf"')
