"""What the folds make of an event and of what is held about it: pure, and without a single fake."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from countersign.contract import AccessRequested, base64url, canonical
from countersign.policy import Policy
from countersign.runtime.errors import ConflictError, KeyUnknownError
from countersign.runtime.folding.dead_letter import LetterReports
from countersign.runtime.keys import Key, KeyRing, KeySettings
from countersign.runtime.watching.metrics import Metrics
from services.risk_evaluator.decide import is_noted, lesson
from services.risk_evaluator.fold import AssessRequests
from services.risk_evaluator.model import Assessed, Beliefs, Disputed, Fingerprint, fingerprint_of
from services.risk_evaluator.places import ForgetPlaces
from tests.support.events import a_client, a_places_forgotten, a_summary, an_access_requested, incoming

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("assessment-1", b"k" * 32, NOON - timedelta(days=1))
POLICY = Policy(version="test")
QUARTER = timedelta(days=90)


def beliefs(**over: Any) -> Beliefs:
    fields: dict[str, Any] = {
        "role": "owner",
        "two_factor": True,
        "number": "confirmed",
        "named_number_usable": False,
        "exports_held_until": None,
        "place": "203.0.113.7/32",
        "place_known": False,
    }
    return Beliefs(**(fields | over))


def a_fold() -> AssessRequests:
    ring = KeyRing(
        "assessment_keys",
        [KeySettings.model_validate({"key_id": KEY.key_id, "secret": KEY.secret, "active_from": KEY.active_from})],
    )
    counter = Counter("test", "test", ("action", "outcome"), registry=CollectorRegistry())
    return AssessRequests(
        POLICY, ring, counter, LetterReports(Metrics(), structlog.get_logger()), structlog.get_logger()
    )


def assessed_before(request: AccessRequested, **over: Any) -> dict[UUID, Beliefs]:
    before = fingerprint_of(incoming(request))._replace(**over)
    return {request.request_id: beliefs(assessed=before)}


def test_a_request_seen_before_is_assessed_once() -> None:
    """The first assessment stands, whatever is believed by now."""
    request = an_access_requested()
    assert a_fold().decide(incoming(request, at=NOON), assessed_before(request), NOON) is None


OTHER_COPIES: dict[str, Any] = {
    "account_id": uuid4(),
    "user_id": uuid4(),
    "action": "export",
    "digest": "B" * 43,
    "client": a_client(ip="198.51.100.23"),
    "summary": a_summary(what="Canteen menu", rows=1),
    "number_id": uuid4(),
}


def test_every_field_of_a_request_is_covered() -> None:
    """A field that is added later has to be tried here, too."""
    assert OTHER_COPIES.keys() == AccessRequested.model_fields.keys() - {"request_id"}


@pytest.mark.parametrize("changed", OTHER_COPIES)
def test_another_request_under_the_same_id_is_a_conflict(changed: str) -> None:
    """Whatever differs: the address decides whether a code is asked for, the summary what the text says."""
    request = an_access_requested()
    copy = request.model_copy(update={changed: OTHER_COPIES[changed]})
    with pytest.raises(ConflictError) as caught:
        a_fold().decide(incoming(copy, at=NOON), assessed_before(request), NOON)
    assert caught.value.alarm == "request_conflict"
    assert caught.value.outcome == Disputed(request.request_id)


def test_a_request_assessed_before_the_hash_was_stored_is_compared_as_it_was_then() -> None:
    """By account, user, action and digest; reading a topic again from its start must find no conflicts."""
    request = an_access_requested()
    assert a_fold().decide(incoming(request, at=NOON), assessed_before(request, req=None), NOON) is None
    with pytest.raises(ConflictError) as caught:
        a_fold().decide(incoming(request, at=NOON), assessed_before(request, req=None, digest="B" * 43), NOON)
    assert caught.value.cause.startswith("request_id: ")
    assert str(request.request_id) not in caught.value.cause


def test_the_mac_covers_every_other_field() -> None:
    """What the verifier computes over the record as it came is what the event carries; any change shows."""
    request = an_access_requested(number_id=uuid4())
    answer = a_fold().decide(incoming(request, at=NOON), {request.request_id: beliefs()}, NOON)
    assert answer is not None
    sent = json.loads(answer.value)
    mac = sent.pop("mac")
    assert sent["key_id"] == KEY.key_id
    assert mac == base64url(hmac.digest(KEY.secret, canonical(sent), "sha256"))
    for name in sent:
        changed = sent | {name: "changed"}
        assert mac != base64url(hmac.digest(KEY.secret, canonical(changed), "sha256"))


def test_the_assessment_carries_the_request_and_the_older_time() -> None:
    """The verifier needs nothing but the assessment."""
    request = an_access_requested(action="confirm_number", number_id=uuid4())
    older = NOON - timedelta(seconds=40)
    held = beliefs(place_known=True)
    answer = a_fold().decide(incoming(request, at=NOON, appended_at=older), {request.request_id: held}, NOON)
    assert answer is not None
    event = answer.event
    assert (event.requested_at, event.policy_version) == (older, POLICY.stamp)
    assert (event.place, event.place_known) == (held.place, True)
    assert event.req == base64url(hashlib.sha256(incoming(request).record.value or b"").digest())
    for name in type(request).model_fields:
        assert getattr(event, name) == getattr(request, name)


def test_without_an_active_key_nothing_is_assessed() -> None:
    """It is waited for, like any key that is not here yet; an unsigned assessment would be a dead letter anyway."""
    request = an_access_requested()
    before = KEY.active_from - timedelta(seconds=1)
    with pytest.raises(KeyUnknownError):
        a_fold().decide(incoming(request, at=before), {request.request_id: beliefs()}, before)


def a_login(**over: Any) -> Assessed:
    fields: dict[str, Any] = {
        "fingerprint": Fingerprint(uuid4(), uuid4(), "login", "d" * 43, "R" * 43),
        "place": "203.0.113.7/32",
        "forgotten_at": None,
    }
    return Assessed(**(fields | over))


def test_a_granted_login_teaches_its_place() -> None:
    """Account, user and place are our own assessment's; the time is the grant's."""
    login = a_login()
    taught = lesson(login, NOON, QUARTER, NOON)
    assert taught is not None
    assert (taught.account_id, taught.taught_by) == (login.fingerprint.account_id, login.fingerprint.user_id)
    assert (taught.place, taught.granted_at) == ("203.0.113.7/32", NOON)


@pytest.mark.parametrize(
    ("login", "granted_at", "forget_after", "teaches"),
    [
        (a_login(place=None), NOON, QUARTER, False),
        (a_login(disputed=True), NOON, QUARTER, False),
        (a_login(fingerprint=Fingerprint(uuid4(), uuid4(), "export", "d" * 43, "R" * 43)), NOON, QUARTER, False),
        # Forgotten: a replayed grant from before brings nothing back.
        (a_login(forgotten_at=NOON), NOON - timedelta(seconds=1), QUARTER, False),
        (a_login(forgotten_at=NOON), NOON, QUARTER, False),
        (a_login(forgotten_at=NOON), NOON + timedelta(seconds=1), QUARTER, True),
        # Idle for so long that it would be forgotten at once; with 0 nothing is too old.
        (a_login(), NOON - QUARTER, QUARTER, False),
        (a_login(), NOON - QUARTER + timedelta(seconds=1), QUARTER, True),
        (a_login(), NOON - QUARTER, timedelta(0), True),
    ],
)
def test_what_teaches_no_place(login: Assessed, granted_at: datetime, forget_after: timedelta, teaches: bool) -> None:
    """Each limit from both sides."""
    assert (lesson(login, granted_at, forget_after, NOON) is not None) == teaches


@pytest.mark.parametrize(("first", "noted"), [(NOON - timedelta(days=30), False), (NOON - timedelta(days=29), True)])
def test_a_login_at_a_place_whose_time_is_over_is_written(first: datetime, noted: bool) -> None:
    """Also where it was used within the hour."""
    assessed = a_login(first_used_at=first, last_used_at=NOON - timedelta(minutes=5))
    assert is_noted(assessed, NOON, timedelta(days=30)) is noted


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_no_grant_from_before_a_forgetting_ever_teaches(granted_at: datetime, forgotten_at: datetime) -> None:
    """Whatever the order in which the two topics are read."""
    taught = lesson(a_login(forgotten_at=forgotten_at), granted_at, timedelta(0), NOON)
    assert (taught is None) == (granted_at <= forgotten_at)


def test_a_forgetting_is_never_younger_than_its_record() -> None:
    """A producer's clock that is ahead would forget what is learned tomorrow."""
    event = a_places_forgotten(user_id=uuid4(), place="203.0.113.7/32")
    told = ForgetPlaces().decide(incoming(event, at=NOON + timedelta(days=1), appended_at=NOON), None, NOON)
    assert (told.forgotten_at, told.account_id) == (NOON, event.account_id)
    assert (told.user_id, told.place) == (event.user_id, event.place)
