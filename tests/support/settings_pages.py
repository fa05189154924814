"""Builders of what the settings pages show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.gateway.model import Session, Site, Stage
from services.gateway.settings_pages.model import Draft, KnownPlace, Member, Number

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
ME, OTHER = uuid4(), uuid4()


def a_session(**over: Any) -> Session:
    session = {
        "site": Site.PAGES,
        "stage": Stage.SIGNED_IN,
        "user_id": ME,
        "account_id": uuid4(),
        "name": "Olga <b>",
        "email": "olga@example.com",
        "staff": False,
        "request_id": uuid4(),
        "req": None,
        "method": "sms",
        "begun_at": NOON,
        "used_at": NOON,
        "now": NOON,
    }
    return Session(**{**session, **over})


def a_number(state: str = "confirmed") -> Number:
    return Number(number_id=uuid4(), state=state, hint="+61 ••••••••06", since=NOON - timedelta(days=400))


def a_member(user_id: UUID = ME, role: str = "owner", **numbers: Any) -> Member:
    return Member(user_id=user_id, role=role, name="Max <i>", **numbers)


def a_draft(**over: Any) -> Draft:
    draft = {
        "page": "two_factor",
        "user_id": ME,
        "request_id": uuid4(),
        "needs": "confirm_number",
        "number_id": uuid4(),
        "number_hint": "+61 ••••••••06",
        "steps": 1,
        "forget": (),
        "begun_at": NOON,
        "now": NOON,
    }
    return Draft(**{**draft, **over})


def a_place(place: str, *, here: bool = False) -> KnownPlace:
    return KnownPlace(place=place, first_used_at=NOON, last_used_at=NOON, here=here)
