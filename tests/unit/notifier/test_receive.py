"""Challenges that come in: which become a text, and which never do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract import ChallengeIssued, base64url, canonical
from countersign.runtime.errors import KeyUnknownError, OffContractError
from services.notifier.codes import SealBrokenError, open_code
from services.notifier.decide import receive
from services.notifier.model import Dispatch, Known
from tests.support.events import a_challenge_issued, a_summary, incoming

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Incoming

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECRET = b"s" * 32
KNOWN = Known({}, {"code-1": SECRET})


def a_sealed_challenge(code: str = "123456", *, extra: dict[str, Any] | None = None, **over: Any) -> bytes:
    """Return the JSON of a challenge as the verifier writes it, maybe with a field of tomorrow."""
    event = a_challenge_issued(**({"key_id": "code-1", "expires_at": NOON + timedelta(minutes=5)} | over))
    rest = json.loads(event.model_dump_json(exclude={"sealed_code"})) | (extra or {})
    nonce = b"n" * 12
    sealed = nonce + AESGCM(SECRET).encrypt(nonce, code.encode(), canonical(rest))
    return json.dumps(rest | {"sealed_code": base64url(sealed)}).encode()


def as_incoming(value: bytes) -> Incoming[ChallengeIssued]:
    return incoming(ChallengeIssued.model_validate_json(value), at=NOON, value=value)


def changed(value: bytes, **over: Any) -> bytes:
    return json.dumps(json.loads(value) | over).encode()


def test_a_challenge_becomes_a_text_with_its_code_still_sealed() -> None:
    """Nothing of the dispatch shows the code."""
    value = a_sealed_challenge("31415926")
    dispatch = receive(as_incoming(value), KNOWN, NOON)
    assert isinstance(dispatch, Dispatch)
    assert not dispatch.late
    assert dispatch.event == value
    assert "31415926" not in repr(dispatch) + repr(KNOWN)


def test_a_field_of_tomorrow_does_not_break_the_seal() -> None:
    """A verifier that is newer than this notifier seals with all its fields."""
    value = a_sealed_challenge(extra={"channel": "sms", "nested": {"a": [1, None, True]}})
    assert receive(as_incoming(value), KNOWN, NOON) is not None


@pytest.mark.parametrize(
    "over",
    [
        {"number_id": str(uuid4())},
        {"send": 2},
        {"challenge_id": str(uuid4())},
        {"user_id": str(uuid4())},
        {"account_id": str(uuid4())},
        {"action": "export"},
        {"summary": {"what": "nothing special", "rows": None, "format": None}},
        {"client": {"ip": "198.51.100.1", "locale": "en"}},
        {"expires_at": "2026-05-04T12:09:00Z"},
        {"added": "later"},
        {"sealed_code": "A" * 46},
    ],
    ids=lambda over: next(iter(over)),
)
def test_a_changed_challenge_does_not_open(over: dict[str, Any]) -> None:
    """Whoever can write on the topic can send no code anywhere, and show no other summary."""
    with pytest.raises(OffContractError, match="sealed_code: does not open"):
        receive(as_incoming(changed(a_sealed_challenge(), **over)), KNOWN, NOON)


def test_a_known_text_is_skipped_and_another_with_its_key_is_a_conflict() -> None:
    """Read twice it is one text; the same key with other contents is off contract, before any key is looked for."""
    value = a_sealed_challenge()
    first = receive(as_incoming(value), KNOWN, NOON)
    assert first is not None
    known = Known({first.key: first.fingerprint}, {})
    assert receive(as_incoming(value), known, NOON) is None
    assert receive(as_incoming(json.dumps(json.loads(value), indent=1).encode()), known, NOON) is None
    with pytest.raises(OffContractError, match="known with other contents"):
        receive(as_incoming(changed(value, number_id=str(uuid4()))), known, NOON)


@pytest.mark.parametrize(("left", "late"), [(5.001, False), (5.0, False), (4.999, True), (0.0, True), (-60.0, True)])
def test_a_challenge_with_under_5_s_left_never_becomes_a_text(left: float, late: bool) -> None:
    """Invariant 6, from both sides."""
    value = a_sealed_challenge(expires_at=NOON + timedelta(seconds=left))
    dispatch = receive(as_incoming(value), KNOWN, NOON)
    assert dispatch is not None
    assert dispatch.late is late


def test_a_tampered_late_challenge_is_a_dead_letter_too() -> None:
    """It must not take the place of the real one."""
    value = changed(a_sealed_challenge(expires_at=NOON), summary={"what": "x"})
    with pytest.raises(OffContractError):
        receive(as_incoming(value), KNOWN, NOON)


def test_an_unknown_key_is_waited_for_only_while_it_matters() -> None:
    """After dedupe and expiry: a late challenge of an unknown key is nobody's, and leaves no trace."""
    none = replace(KNOWN, code_secrets={})
    with pytest.raises(KeyUnknownError):
        receive(as_incoming(a_sealed_challenge()), none, NOON)
    assert receive(as_incoming(a_sealed_challenge(expires_at=NOON)), none, NOON) is None


def test_another_key_does_not_open() -> None:
    """A key id that is held, with a secret that is another."""
    with pytest.raises(OffContractError):
        receive(as_incoming(a_sealed_challenge()), Known({}, {"code-1": b"t" * 32}), NOON)


@pytest.mark.parametrize("extra", [{"ratio": 0.5}, {"nested": {"deep": [1.5]}}])
def test_a_number_that_cannot_be_canonical_is_off_contract(extra: dict[str, Any]) -> None:
    """A field of tomorrow with a float: it was never sealed."""
    with pytest.raises(OffContractError):
        receive(as_incoming(changed(a_sealed_challenge(), **extra)), KNOWN, NOON)


@pytest.mark.parametrize("code", ["12345", "123456789", "abcdef", "\uff11\uff12\uff13\uff14\uff15\uff16", ""])
def test_what_is_no_code_does_not_open(code: str) -> None:
    """Six to eight ASCII digits, or it is nothing to send."""
    with pytest.raises(SealBrokenError):
        open_code(SECRET, json.loads(a_sealed_challenge(code)))


def test_the_summary_is_part_of_the_seal() -> None:
    """The very challenge, with a summary and without."""
    value = a_sealed_challenge(summary=a_summary(what="Newsletter", rows=500, format="csv"))
    assert open_code(SECRET, json.loads(value)).digits == "123456"
    with pytest.raises(SealBrokenError):
        open_code(SECRET, json.loads(changed(value, summary={"what": "Newsletter", "rows": 5, "format": "csv"})))
