"""What a decision does to an export in each state, without a single server."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from countersign.client import contacts_digest
from countersign.client.grant import LEEWAY, Realm
from countersign.client.grants import published_keys
from countersign.contract import AccessDenied, AccessGranted
from countersign.runtime.errors import KeyUnknownError, OffContractError
from services.exports.decide import decide, reason_of_end, shown
from services.exports.model import Denied, Export, Granted, Held, Late, State
from tests.support.grants import DENIAL_TYP, LIFE_SECONDS, REQ, Signer, claims_of, denial_claims_of

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SIGNER = Signer()
KEYS = published_keys(json.dumps({"keys": [SIGNER.jwk()]}).encode(), "here")


def an_export(**over: Any) -> Export:
    fields: dict[str, Any] = {
        "export_id": UUID(int=1),
        "account_id": UUID(int=2),
        "user_id": UUID(int=3),
        "list_id": UUID(int=4),
        "list_name": "Newsletter",
        "format": "csv",
        "rows": 1,
        "contacts": contacts_digest([UUID(int=5)]),
        "session": b"s" * 32,
        "asked_at": NOON,
        "state": "waiting",
        "reason": None,
        "retry_at": None,
        "expires_at": NOON + timedelta(minutes=10),
        "req": REQ,
    }
    return Export(**{**fields, **over})


def held(*exports: Export) -> Held:
    return Held({export.export_id: export for export in exports}, KEYS, Realm())


def a_grant(export: Export, signer: Signer = SIGNER, **over: Any) -> AccessGranted:
    claims = claims_of(
        request_id=export.export_id,
        user_id=export.user_id,
        account_id=export.account_id,
        action="export",
        digest=export.digest(),
        now=NOON,
    )
    fields = {
        "request_id": export.export_id,
        "account_id": export.account_id,
        "user_id": export.user_id,
        "action": "export",
        "digest": export.digest(),
        "method": "sms",
        "reasons": [],
        "grant": signer.sign(claims),
        "grant_expires_at": NOON + timedelta(seconds=LIFE_SECONDS),
    }
    return AccessGranted(**{**fields, **over})


def a_denial(export: Export, **over: Any) -> AccessDenied:
    fields = a_grant(export).model_dump(exclude={"grant", "grant_expires_at"})
    named = ("request_id", "account_id", "user_id", "action", "digest")
    why = {"reason": "locked", "retry_at": NOON + timedelta(hours=1)}
    claims = denial_claims_of(**{name: fields[name] for name in named}, **why, now=NOON)
    return AccessDenied(**{**fields, **why, "proof": SIGNER.sign(claims, typ=DENIAL_TYP), **over})


def test_the_right_grant_lets_the_file_be_written() -> None:
    """And a denial ends it, with its reason and time."""
    export = an_export()
    assert decide(a_grant(export), held(export), NOON) == Granted(export)
    assert decide(a_denial(export), held(export), NOON) == Denied(export, "locked", NOON + timedelta(hours=1))


@pytest.mark.parametrize("state", ["granted", "ready", "denied", "expired"])
def test_a_second_decision_changes_nothing(state: State) -> None:
    """Delivered twice, read again from the start, or contradicting the first: also with a key that is unknown."""
    export = an_export(state=state)
    for event in (a_grant(export), a_denial(export), a_grant(export, Signer("other"))):
        assert decide(event, held(export), NOON) is None


def test_expiry_is_looked_at_before_anything_is_waited_for() -> None:
    """Over is over, to the microsecond, also for an unknown key."""
    export = an_export(expires_at=NOON)
    assert decide(a_grant(export), held(export), NOON) is None
    assert decide(a_grant(export, Signer("other")), held(export), NOON) is None
    assert decide(a_grant(export), held(export), NOON - timedelta(microseconds=1)) == Granted(export)
    with pytest.raises(KeyUnknownError):
        decide(a_grant(export, Signer("other")), held(export), NOON - timedelta(microseconds=1))


def test_an_export_that_is_not_ours_is_passed_over() -> None:
    """The platform may have other exporters."""
    assert decide(a_grant(an_export()), held(), NOON) is None


@pytest.mark.parametrize(
    "over",
    [
        {"list_id": UUID(int=9)},
        {"format": "jsonl"},
        {"rows": 2},
        {"contacts": contacts_digest([UUID(int=6)])},
        {"list_name": "Customers"},
        {"session": b"t" * 32},
    ],
)
def test_a_grant_for_other_parameters_is_a_dead_letter(over: dict[str, Any]) -> None:
    """Whichever one: the digest is made again from the row that will be written."""
    approved = an_export()
    ours = replace(approved, **over)
    with pytest.raises(OffContractError, match="digest"):
        decide(a_grant(approved), held(ours), NOON)
    with pytest.raises(OffContractError, match=r"grant\.dig"):
        decide(a_grant(approved, digest=ours.digest()), held(ours), NOON)


@pytest.mark.parametrize(
    ("over", "named"),
    [({"account_id": uuid4()}, "account_id"), ({"user_id": uuid4()}, "user_id"), ({"digest": "A" * 43}, "digest")],
)
def test_a_decision_with_other_ids_is_a_conflict(over: dict[str, Any], named: str) -> None:
    """Before any signature is looked at."""
    export = an_export()
    for event in (a_grant(export, **over), a_denial(export, **over)):
        with pytest.raises(OffContractError, match=f"^{named}: expected"):
            decide(event, held(export), NOON)


def test_a_forged_grant_is_a_dead_letter_that_quotes_nothing() -> None:
    """The cause names the part."""
    export = an_export()
    forged = a_grant(export, Signer(SIGNER.key_id))
    with pytest.raises(OffContractError) as found:
        decide(forged, held(export), NOON)
    assert found.value.cause.startswith("grant.signature: ")
    assert forged.grant not in found.value.cause


def test_a_right_grant_that_comes_too_late_ends_the_export() -> None:
    """From both sides of the limit."""
    export = an_export(expires_at=NOON + timedelta(hours=1))
    end = NOON + timedelta(seconds=LIFE_SECONDS) + LEEWAY
    assert decide(a_grant(export), held(export), end - timedelta(microseconds=1)) == Granted(export)
    assert decide(a_grant(export), held(export), end) == Late(export)


@pytest.mark.parametrize(
    ("state", "seen", "over"),
    [
        ("waiting", "waiting", "decision.missing"),
        ("granted", "waiting", "file.unwritten"),
        ("ready", "ready", "file.expired"),
    ],
)
def test_what_people_see(state: State, seen: str, over: str) -> None:
    """The state, until its time is over."""
    export = an_export(state=state)
    end = NOON + timedelta(minutes=10)
    assert shown(export, end - timedelta(microseconds=1)) == seen
    assert shown(export, end) == "expired"
    assert reason_of_end(export) == over


@pytest.mark.parametrize("state", ["denied", "expired"])
def test_an_end_stays_as_it_is(state: State) -> None:
    """It has no time of its own."""
    assert shown(an_export(state=state, expires_at=None), NOON + timedelta(days=1)) == state
