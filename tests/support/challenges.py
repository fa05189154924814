"""Builders of what the verifier decides on: plain data at a fixed noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from countersign.contract import challenge_id_of
from services.verifier.codes import digest_code
from services.verifier.model import Asked, Beliefs, Challenge, Circumstances, Counter, FreshCode, Number, Protection

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
PEPPER = b"p" * 32
CODE = "123456"
REQUEST = UUID("0197a000-0000-7000-8000-000000000001")
ACCOUNT = UUID("0197a000-0000-7000-8000-00000000000a")
USER = UUID("0197a000-0000-7000-8000-00000000000b")
NUMBER = UUID("0197a000-0000-7000-8000-00000000000c")
OTHER = UUID("0197a000-0000-7000-8000-0000000000ff")
CHALLENGE = challenge_id_of(REQUEST)


def a_number(**over: Any) -> Number:
    return Number(**({"number_id": NUMBER, "user_id": USER, "state": "confirmed", "hint": "+61 •••••••06"} | over))


def a_protection(**over: Any) -> Protection:
    return Protection(**({"role": "owner", "two_factor": True, "number": a_number()} | over))


def beliefs(**over: Any) -> Beliefs:
    fields: dict[str, Any] = {
        "seen": None,
        "protection": a_protection(),
        "asked_number": None,
        "counter": Counter(),
        "open_challenges": (),
        "fresh": FreshCode(CODE, b"n" * 12),
    }
    return Beliefs(**(fields | over))


def what_was_asked(**over: Any) -> Asked:
    fields: dict[str, Any] = {
        "request_id": REQUEST,
        "account_id": ACCOUNT,
        "user_id": USER,
        "action": "login",
        "digest": "d" * 43,
        "reasons": ("ip.new",),
        "challenge_id": CHALLENGE,
        "number_id": NUMBER,
        "req": "R" * 43,
    }
    return Asked(**(fields | over))


def a_challenge(**over: Any) -> Challenge:
    """Return an open challenge with four minutes to live; `action` is its request's."""
    asked = what_was_asked(**({"action": over.pop("action")} if "action" in over else {}))
    fields: dict[str, Any] = {
        "challenge_id": CHALLENGE,
        "asked": asked,
        "place_known": False,
        "attempts": 0,
        "attempts_max": 5,
        "expires_at": NOON + 4 * MINUTE,
    }
    return Challenge(**(fields | over))


def circumstances(**over: Any) -> Circumstances:
    """Return noon, no failures, the number in force, and CODE as the good code of text 1."""
    fields: dict[str, Any] = {
        "now": NOON,
        "counter": Counter(),
        "protection": a_protection(),
        "number": a_number(),
        "digests": ((1, digest_code(PEPPER, CHALLENGE, 1, CODE)),),
    }
    return Circumstances(**(fields | over))
