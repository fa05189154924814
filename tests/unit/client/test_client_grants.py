"""Which grants count: the right one, for exactly this, now. Everything else is refused and named."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.client import Expected, GrantRefusedError
from countersign.client.grant import GRANT_CHARACTERS_MAX, LEEWAY, Realm, judge_grant, judge_taught
from countersign.client.grants import published_keys
from countersign.contract import base64url, digest_of
from countersign.runtime.errors import KeyUnknownError
from tests.support.grants import LIFE_SECONDS, REQ, Signer, claims_of

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SIGNER = Signer()
EXPECTED = Expected(
    action="export",
    request_id=UUID("01960000-0000-7000-8000-000000000001"),
    user_id=UUID("01960000-0000-7000-8000-000000000002"),
    account_id=UUID("01960000-0000-7000-8000-000000000003"),
    digest=digest_of({"rows": 3}),
    req=REQ,
)
REALM = Realm()


def keys_of(*jwks: dict[str, Any]) -> Any:
    return published_keys(json.dumps({"keys": jwks}).encode(), "here")


KEYS = keys_of(SIGNER.jwk())


def some_claims(**over: object) -> dict[str, Any]:
    return claims_of(
        request_id=EXPECTED.request_id,
        user_id=EXPECTED.user_id,
        account_id=EXPECTED.account_id,
        action=EXPECTED.action,
        digest=EXPECTED.digest,
        now=NOON,
        **over,
    )


def refusal(grant: str, *, now: datetime = NOON, keys: Any = KEYS) -> str:
    with pytest.raises(GrantRefusedError) as refused:
        judge_grant(grant, EXPECTED, now, keys, REALM)
    assert grant == "" or grant not in str(refused.value)
    return refused.value.what


def test_the_right_grant_counts_and_tells_how_it_was_earned() -> None:
    """Signature, realm, time and every id match."""
    grant = judge_grant(SIGNER.sign(some_claims()), EXPECTED, NOON, KEYS, REALM)
    assert (grant.request_id, grant.digest, grant.method) == (EXPECTED.request_id, EXPECTED.digest, "sms")
    assert grant.expires_at == NOON + timedelta(seconds=LIFE_SECONDS)
    assert judge_grant(SIGNER.sign(some_claims(amr=[])), EXPECTED, NOON, KEYS, REALM).method == "none"


@pytest.mark.parametrize(
    ("over", "what"),
    [
        ({"iss": "somebody"}, "iss"),
        ({"aud": "others"}, "aud"),
        ({"aud": ["countersign"]}, "aud"),
        ({"act": "login"}, "act"),
        ({"act": "fly"}, "act"),
        ({"jti": str(uuid4())}, "jti"),
        ({"jti": "1"}, "jti"),
        ({"sub": str(uuid4())}, "sub"),
        ({"acct": str(uuid4())}, "acct"),
        ({"dig": digest_of({"rows": 4})}, "dig"),
        ({"req": "B" * 43}, "req"),  # a copy with a known address was raced onto the topic, and judged
        ({"req": None}, "req"),
        ({"amr": ["pwd"]}, "amr"),
        ({"iat": "now"}, "iat"),
        ({"exp": None}, "exp"),
        ({"exp": 10**30}, "exp"),
        ({"exp": 1.5}, "exp"),
    ],
)
def test_every_claim_is_looked_at_and_named(over: dict[str, Any], what: str) -> None:
    """One claim off at a time."""
    assert refusal(SIGNER.sign(some_claims(**over))) == what


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (-LEEWAY, None),
        (-LEEWAY - timedelta(seconds=1), "iat"),
        (timedelta(seconds=LIFE_SECONDS) + LEEWAY - timedelta(microseconds=1), None),
        (timedelta(seconds=LIFE_SECONDS) + LEEWAY, "exp"),
    ],
)
def test_its_time_is_judged_with_leeway_from_both_sides(after: timedelta, what: str | None) -> None:
    """30 s either way, and not a microsecond more."""
    grant = SIGNER.sign(some_claims())
    if what is None:
        assert judge_grant(grant, EXPECTED, NOON + after, KEYS, REALM)
    else:
        assert refusal(grant, now=NOON + after) == what


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    head = base64url(json.dumps(header).encode())
    return f"{head}.{base64url(json.dumps(some_claims()).encode())}.{base64url(signature)}"


def signed_with_the_public_key() -> str:
    """Return the classic confusion: HS256 with the published key as the secret."""
    secret = SIGNER.private.public_key().public_bytes_raw()
    whole = unsigned({"alg": "HS256", "typ": "countersign-grant+jwt", "kid": SIGNER.key_id})
    body = whole.rpartition(".")[0]
    return f"{body}.{base64url(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def tampered() -> str:
    head, _, signature = SIGNER.sign(some_claims()).split(".")
    return f"{head}.{base64url(json.dumps(some_claims(sub=str(uuid4()))).encode())}.{signature}"


@pytest.mark.parametrize(
    ("grant", "what"),
    [
        (unsigned({"alg": "none", "typ": "countersign-grant+jwt", "kid": SIGNER.key_id}), "alg"),
        (unsigned({"alg": "NONE", "typ": "countersign-grant+jwt", "kid": SIGNER.key_id}), "alg"),
        (unsigned({"typ": "countersign-grant+jwt", "kid": SIGNER.key_id}), "alg"),
        (unsigned({"alg": "EdDSA", "typ": "countersign-grant+jwt", "kid": SIGNER.key_id}), "signature"),
        (unsigned({"alg": "EdDSA", "typ": "countersign-grant+jwt", "kid": SIGNER.key_id}, b"\0" * 64), "signature"),
        (signed_with_the_public_key(), "alg"),
        (tampered(), "signature"),
        (Signer(SIGNER.key_id).sign(some_claims()), "signature"),
        (SIGNER.sign(some_claims(), typ="JWT"), "typ"),
        (SIGNER.sign(some_claims(), typ=None), "typ"),
        (SIGNER.sign(some_claims(), kid=None), "form"),
        (SIGNER.sign(some_claims(), kid=7), "form"),
        (SIGNER.sign(some_claims(), crit=["b64"], b64=False), "form"),
        (SIGNER.sign(some_claims(), jwk=SIGNER.jwk()), "form"),
        (SIGNER.sign(some_claims(), jku="https://evil.example/keys"), "form"),
        ("", "form"),
        ("a.b", "form"),
        ("a.b.c.d", "form"),
        ("é.é.é", "form"),
        (base64.urlsafe_b64encode(b"[1]").decode() + ".e30.AA", "form"),
        ("x" * GRANT_CHARACTERS_MAX + ".y.z", "form"),
    ],
)
def test_forgeries_are_refused_before_anything_in_them_is_believed(grant: str, what: str) -> None:
    """Algorithms, types, keys brought along, other keys, changed bodies, no form at all."""
    assert refusal(grant) == what


def test_an_unknown_key_is_told_apart_from_a_wrong_one() -> None:
    """A fold waits for it; it may be a new one."""
    with pytest.raises(KeyUnknownError):
        judge_grant(Signer("other").sign(some_claims()), EXPECTED, NOON, KEYS, REALM)


def test_a_retired_key_counts_for_what_it_signed_in_its_time() -> None:
    """Grants issued before it was active or after it was retired are forged."""
    grant = SIGNER.sign(some_claims())
    hour = timedelta(hours=1)
    for dates, what in [
        ({"active_from": NOON - hour, "retired_at": NOON + hour}, None),
        ({"active_from": NOON - hour, "retired_at": NOON - LEEWAY}, None),
        ({"active_from": NOON - hour, "retired_at": NOON - LEEWAY - timedelta(seconds=1)}, "kid"),
        ({"active_from": NOON + LEEWAY + timedelta(seconds=1)}, "kid"),
    ]:
        keys = keys_of(SIGNER.jwk(**{name: time.isoformat() for name, time in dates.items()}))
        if what is None:
            assert judge_grant(grant, EXPECTED, NOON, keys, REALM)
            assert judge_taught(grant, None, NOON + timedelta(seconds=9), keys, REALM)
        else:
            assert refusal(grant, keys=keys) == what


def test_learning_asks_whether_the_event_was_made_in_the_grants_time() -> None:
    """However long ago that is: a replay of 30 days teaches the same."""
    grant = SIGNER.sign(some_claims())
    life = timedelta(seconds=LIFE_SECONDS)
    for ce_time in (NOON, NOON + timedelta(microseconds=1), NOON + life):
        assert judge_taught(grant, EXPECTED, ce_time, KEYS, REALM)
    for ce_time in (NOON - timedelta(seconds=1), NOON + life + timedelta(seconds=1)):
        with pytest.raises(GrantRefusedError, match="iat"):
            judge_taught(grant, EXPECTED, ce_time, KEYS, REALM)
    with pytest.raises(GrantRefusedError, match="sub"):
        judge_taught(grant, replace(EXPECTED, user_id=uuid4()), NOON, KEYS, REALM)


@given(st.text(max_size=300))
def test_no_text_is_a_grant(text: str) -> None:
    """Whatever comes is refused in words, and never a traceback."""
    with pytest.raises((GrantRefusedError, KeyUnknownError)):
        judge_grant(text, EXPECTED, NOON, KEYS, REALM)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_single_changed_byte_goes_through(position: int, change: int) -> None:
    """Header, claims and signature hang together."""
    grant = bytearray(SIGNER.sign(some_claims()).encode())
    grant[position % len(grant)] ^= change
    changed = grant.decode("latin-1")
    with pytest.raises((GrantRefusedError, KeyUnknownError)):
        judge_grant(changed, EXPECTED, NOON, KEYS, REALM)


def test_a_grant_has_one_spelling() -> None:
    """The last letter of a signature carries two bits that decoders ignore."""
    grant = SIGNER.sign(some_claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert refusal(grant[:-1] + alphabet[alphabet.index(grant[-1]) ^ 1]) == "form"


def test_who_did_not_publish_the_request_compares_no_bytes() -> None:
    """Only learners, who act on nothing that was asked for, say so with None."""
    grant = SIGNER.sign(some_claims(req="B" * 43))
    assert judge_grant(grant, replace(EXPECTED, req=None), NOON, KEYS, REALM).req == "B" * 43
