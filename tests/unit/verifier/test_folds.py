"""What the folds make of an assessment's proof and of a text's fate; pure, without a single fake."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from countersign.runtime.errors import ConflictError, OffContractError
from services.verifier.decide_assessment import check_mac, check_req, is_seen, is_stale
from services.verifier.decide_delivery import Texts, deliver
from services.verifier.model import Delivered, Fingerprint, Send
from tests.support.challenges import (
    ACCOUNT,
    CHALLENGE,
    MINUTE,
    NOON,
    NUMBER,
    OTHER,
    USER,
    a_challenge,
)
from tests.support.events import (
    an_access_assessed,
    an_sms_accepted,
    an_sms_refused,
    an_sms_suppressed,
    an_sms_unknown,
    signed,
)

if TYPE_CHECKING:
    from countersign.contract import AccessAssessed

SECRET = b"k" * 32
TICK = timedelta(microseconds=1)


def _raw(event: AccessAssessed) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(event.model_dump_json())
    return raw


def test_an_assessment_of_the_evaluator_is_believed() -> None:
    """Also with a field that this reader does not know, as long as it was there when it was signed."""
    check_mac(_raw(signed(an_access_assessed(), SECRET)), SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "allow"},
        {"reasons": ["ip.known"]},
        {"place_known": True},
        {"place": "198.51.100.1/32"},
        {"user_id": str(OTHER)},
        {"digest": "e" * 43},
        {"number_id": str(OTHER)},
        {"requested_at": "2030-01-01T00:00:00Z"},
        {"key_id": "other"},
        {"added": "by somebody else"},
        {"mac": "A" * 43},
        {"added": 0.5},
        {"added": {"é": 1}},
    ],
)
def test_a_forged_assessment_is_a_dead_letter(change: dict[str, Any]) -> None:
    """Each field is covered, and the cause quotes none."""
    with pytest.raises(OffContractError) as refused:
        check_mac({**_raw(signed(an_access_assessed(), SECRET)), **change}, SECRET)
    assert str(OTHER) not in refused.value.cause


def test_a_mac_of_another_key_is_none() -> None:
    """Whoever holds another ring's key is nobody."""
    with pytest.raises(OffContractError, match="mac"):
        check_mac(_raw(signed(an_access_assessed(), SECRET)), b"j" * 32)


def test_the_same_request_is_seen_and_another_of_its_id_is_a_conflict() -> None:
    """Account, user, action, digest and the very bytes of the request make it the same."""
    event = an_access_assessed()
    same = Fingerprint(event.account_id, event.user_id, event.action, event.digest, event.req)
    assert not is_seen(event, None)
    assert is_seen(event, same)
    for other in (
        replace(same, account_id=OTHER),
        replace(same, user_id=OTHER),
        replace(same, action="export"),
        replace(same, digest="e" * 43),
        replace(same, req="e" * 43),
    ):
        with pytest.raises(ConflictError, match="request_id") as caught:
            is_seen(event, other)
        assert caught.value.alarm == "request_conflict"
    assert is_seen(event, replace(same, req=None)), "stored before `req` was carried"


def test_an_assessment_that_does_not_name_the_request_is_refused() -> None:
    """Nobody could act on its grant: whoever published the request compares `req`."""
    with pytest.raises(OffContractError, match="req: missing"):
        check_req(an_access_assessed(req=None))


def test_age_is_the_older_of_two() -> None:
    """Nobody makes a request younger than it is."""
    limit = 2 * MINUTE
    assert not is_stale(NOON - limit, NOON, NOON, limit)
    assert is_stale(NOON - limit - TICK, NOON, NOON, limit)
    assert is_stale(NOON, NOON - limit - TICK, NOON, limit)


OURS: dict[str, Any] = {"challenge_id": CHALLENGE, "account_id": ACCOUNT, "user_id": USER, "number_id": NUMBER}


def texts(*states: str, **over: Any) -> Texts:
    sends = {n: Send(n, NOON, state) for n, state in enumerate(states, 1)}  # type: ignore[arg-type] # a test's words
    return Texts(a_challenge(**over), sends)


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (an_sms_accepted(**OURS), "accepted"),
        (an_sms_refused(**OURS), "refused"),
        (an_sms_suppressed(**OURS), "suppressed"),
        (an_sms_unknown(**OURS), "unknown"),
    ],
)
def test_the_fate_of_a_text_is_kept(event: Any, state: str) -> None:
    """One state a type; what is not certain stays unknown."""
    delivered = deliver(event, texts("sending"))
    assert delivered is not None
    assert (delivered.send.send, delivered.send.state) == (1, state)


@pytest.mark.parametrize("state", ["accepted", "refused", "suppressed", "unknown"])
def test_the_first_outcome_of_a_text_stands(state: str) -> None:
    """Re-reading the topic changes nothing."""
    assert deliver(an_sms_refused(**OURS), texts(state)) is None


@pytest.mark.parametrize(
    ("event", "before", "reason"),
    [
        (an_sms_refused(**OURS), ("sending",), "sms.refused"),
        (an_sms_suppressed(**OURS, retry_at=NOON), ("sending",), "sms.suppressed"),
        (an_sms_accepted(**OURS), ("sending",), None),
        (an_sms_unknown(**OURS), ("sending",), None),
        (an_sms_refused(**OURS), ("sending", "sending"), None),
        (an_sms_refused(**OURS), ("sending", "unknown"), None),
        (an_sms_refused(**OURS), ("sending", "accepted"), None),
        (an_sms_refused(**OURS), ("sending", "suppressed"), "sms.suppressed"),
        (an_sms_refused(**(OURS | {"send": 2})), ("suppressed", "sending"), "sms.refused"),
    ],
)
def test_a_challenge_closes_when_none_of_its_texts_will_arrive(
    event: Any, before: tuple[str, ...], reason: str | None
) -> None:
    """Every send refused or suppressed, and not before; the latest one gives the reason."""
    delivered = deliver(event, texts(*before))
    assert delivered is not None
    assert (delivered.ending.reason if delivered.ending else None) == reason


def test_a_suppressed_challenge_says_when_to_come_back() -> None:
    """`retry_at` goes from the text to the decision."""
    delivered = deliver(an_sms_suppressed(**OURS, retry_at=NOON + MINUTE), texts("sending"))
    assert isinstance(delivered, Delivered)
    assert delivered.ending is not None
    assert delivered.ending.retry_at == NOON + MINUTE


def test_a_closed_challenge_closes_once() -> None:
    """The text's state is kept, and nothing else happens."""
    delivered = deliver(an_sms_refused(**OURS), texts("sending", closed_at=NOON))
    assert delivered is not None
    assert delivered.ending is None


@pytest.mark.parametrize(
    ("over", "cause"),
    [
        ({"account_id": OTHER}, "another account, user or number"),
        ({"user_id": OTHER}, "another account, user or number"),
        ({"number_id": OTHER}, "another account, user or number"),
        ({"send": 2}, "send"),
    ],
)
def test_a_delivery_that_cannot_be_is_a_dead_letter(over: dict[str, Any], cause: str) -> None:
    """Of a challenge, but not as it was issued."""
    with pytest.raises(OffContractError, match=cause):
        deliver(an_sms_accepted(**(OURS | over)), texts("sending"))


def test_a_delivery_of_no_challenge_is_a_dead_letter() -> None:
    """Ours are committed before their texts leave."""
    with pytest.raises(OffContractError, match="challenge_id"):
        deliver(an_sms_accepted(**OURS), None)
