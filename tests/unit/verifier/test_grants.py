"""Grants as the verifier signs them, checked with nothing but what it publishes; keys come and go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from countersign.client.denial import Denial, judge_denial
from countersign.client.grant import Expected, GrantRefusedError, Realm, judge_grant
from countersign.client.grants import published_keys
from countersign.contract import from_base64url
from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.keys import KeyRing, KeySettings
from services.verifier.grants import Signer
from services.verifier.model import Denied
from tests.support.challenges import ACCOUNT, MINUTE, NOON, REQUEST, SECOND, USER, what_was_asked

DAY = timedelta(days=1)
EXPECTED = Expected(action="login", request_id=REQUEST, user_id=USER, account_id=ACCOUNT, digest="d" * 43, req="R" * 43)
TICK = timedelta(microseconds=1)


def a_key(key_id: str, active_from: datetime, retired_at: datetime | None = None) -> KeySettings:
    return KeySettings.model_validate(
        {
            "key_id": key_id,
            "secret": key_id.encode().ljust(32, b"."),
            "active_from": active_from,
            "retired_at": retired_at,
        }
    )


def a_signer(*keys: KeySettings) -> Signer:
    ring = KeyRing("grant_keys", keys or [a_key("grant-1", NOON - DAY)])
    return Signer(ring, issuer="countersign", audience="countersign", lifetime=5 * MINUTE)


def ids(signer: Signer, now: datetime) -> list[str]:
    return [key["kid"] for key in signer.jwks(now)["keys"]]


def part(jws: str, number: int) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(from_base64url(jws.split(".")[number]))
    return decoded


def test_a_grant_says_who_may_do_what_until_when() -> None:
    """Header and claims as designed, times in whole seconds of the database's clock."""
    grant = a_signer().sign(what_was_asked(), "sms", NOON + 900 * timedelta(milliseconds=1))
    assert part(grant.jws, 0) == {"alg": "EdDSA", "typ": "countersign-grant+jwt", "kid": "grant-1"}
    issued = int(NOON.timestamp())
    assert part(grant.jws, 1) == {
        "iss": "countersign",
        "aud": "countersign",
        "jti": str(REQUEST),
        "sub": str(USER),
        "acct": str(ACCOUNT),
        "act": "login",
        "dig": "d" * 43,
        "req": "R" * 43,
        "amr": ["sms"],
        "iat": issued,
        "exp": issued + 300,
    }
    assert grant.expires_at == NOON + 5 * MINUTE
    assert part(a_signer().sign(what_was_asked(), "none", NOON).jws, 1)["amr"] == []
    assert grant.jws not in repr(grant)


def test_a_reader_checks_a_grant_with_the_published_keys_alone() -> None:
    """The reference client takes what the verifier signs, within its time and leeway, and not a moment longer."""
    signer = a_signer()
    keys = published_keys(json.dumps(signer.jwks(NOON)).encode(), "test")
    grant = signer.sign(what_was_asked(), "sms", NOON).jws
    assert judge_grant(grant, EXPECTED, NOON, keys, Realm()).method == "sms"
    assert judge_grant(grant, EXPECTED, NOON + 5 * MINUTE + 30 * SECOND - TICK, keys, Realm()).key_id == "grant-1"
    with pytest.raises(GrantRefusedError, match="exp"):
        judge_grant(grant, EXPECTED, NOON + 5 * MINUTE + 30 * SECOND, keys, Realm())


def test_a_denial_is_signed_and_is_no_grant() -> None:
    """The reference client reads reason and time out of the proof; neither is ever taken for the other."""
    signer = a_signer()
    keys = published_keys(json.dumps(signer.jwks(NOON)).encode(), "test")
    denied = Denied(what_was_asked(), "locked", NOON + MINUTE)
    proof = signer.sign_denial(denied, NOON)
    assert judge_denial(proof, EXPECTED, keys, Realm()) == Denial(reason="locked", retry_at=NOON + MINUTE)
    unlimited = signer.sign_denial(Denied(what_was_asked(), "code.expired"), NOON)
    assert judge_denial(unlimited, EXPECTED, keys, Realm()) == Denial(reason="code.expired", retry_at=None)
    with pytest.raises(GrantRefusedError, match="typ"):
        judge_grant(proof, EXPECTED, NOON, keys, Realm())
    with pytest.raises(GrantRefusedError, match="typ"):
        judge_denial(signer.sign(what_was_asked(), "sms", NOON).jws, EXPECTED, keys, Realm())
    for over in ({"digest": "e" * 43}, {"action": "export"}, {"request_id": ACCOUNT}, {"user_id": ACCOUNT}):
        with pytest.raises(GrantRefusedError, match="jti"):
            judge_denial(proof, replace(EXPECTED, **over), keys, Realm())
    for realm in (Realm(issuer="other"), Realm(audience="other")):
        with pytest.raises(GrantRefusedError):
            judge_denial(proof, EXPECTED, keys, realm)


def test_a_key_is_published_before_it_signs_and_long_after() -> None:
    """Installed ahead it is shown at once; retired it is shown, with its dates, for 40 days."""
    old = a_key("old", NOON - DAY, retired_at=NOON)
    new = a_key("new", NOON)
    signer = a_signer(old, new)
    before, after = NOON - 10 * MINUTE, NOON
    assert ids(signer, before) == ["old", "new"]
    assert part(signer.sign(what_was_asked(), "sms", before).jws, 0)["kid"] == "old"
    assert part(signer.sign(what_was_asked(), "sms", after).jws, 0)["kid"] == "new"
    assert ids(signer, NOON + 40 * DAY - TICK) == ["old", "new"]
    assert ids(signer, NOON + 40 * DAY) == ["new"]
    shown = {key["kid"]: key for key in signer.jwks(NOON)["keys"]}
    assert shown["old"]["retired_at"] == "2026-03-01T12:00:00Z"
    assert (shown["new"]["active_from"], shown["new"]["retired_at"]) == ("2026-03-01T12:00:00Z", None)


def test_the_key_set_holds_no_secret() -> None:
    """Public parts only."""
    for key in a_signer().jwks(NOON)["keys"]:
        assert "d" not in key
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")


def test_without_a_key_in_its_time_nothing_is_signed() -> None:
    """Nobody is let in on a key that is not in use."""
    with pytest.raises(KeyUnknownError):
        a_signer(a_key("new", NOON)).sign(what_was_asked(), "sms", NOON - TICK)
