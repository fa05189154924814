"""Fetching the verifier's published keys: when, how often, and what is said of a verifier that is away."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from countersign.client import Expected, GrantRefusedError, Grants, KeysAwayError
from countersign.client.grants import KEYS_AGE_MAX, KEYS_OLD, REFRESH_PAUSE, published_keys
from countersign.contract import digest_of
from countersign.runtime.errors import KeyUnknownError
from tests.support.grants import REQ, KeySite, Signer, claims_of
from tests.support.kafka import eventually

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SIGNER = Signer()
IDS: dict[str, Any] = {
    "action": "export",
    "request_id": uuid4(),
    "user_id": uuid4(),
    "account_id": uuid4(),
    "digest": digest_of({"rows": 3}),
}
EXPECTED = Expected(**IDS, req=REQ)


class Hand:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


async def test_keys_are_fetched_once_and_again_for_a_new_one() -> None:
    """A forged key id costs the verifier at most one request in five seconds."""
    hand, new = Hand(), Signer("grant-2")
    async with KeySite(SIGNER.jwk()) as site, Grants(site.url, monotonic=hand) as grants:
        for _ in range(3):
            await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        assert site.asked == 1
        site.keys.append(new.jwk())
        for _ in range(3):
            with pytest.raises(GrantRefusedError, match="kid"):
                await grants.check(new.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        assert site.asked == 1
        hand.at += REFRESH_PAUSE
        assert await grants.check(new.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        assert site.asked == 2
        hand.at += KEYS_AGE_MAX
        await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        await eventually(lambda: site.asked == 3)


async def test_a_key_at_hand_does_not_wait_for_the_verifier() -> None:
    """Keys of ten minutes are fetched anew in the background; from twenty minutes on they are fetched first."""
    hand = Hand()
    async with KeySite(SIGNER.jwk()) as site, Grants(site.url, monotonic=hand) as grants:
        await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        site.answering.clear()
        hand.at += KEYS_AGE_MAX
        async with asyncio.timeout(2):
            await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        await eventually(lambda: site.asked == 2)
        site.keys.clear()
        site.answering.set()
        await eventually(lambda: not grants.keys)
    async with KeySite(SIGNER.jwk()) as site, Grants(site.url, monotonic=hand) as grants:
        await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        site.keys.clear()  # revoked
        hand.at += KEYS_OLD
        with pytest.raises(GrantRefusedError, match="kid"):
            await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)


async def test_the_background_fetches_what_is_wanted_and_names_who_is_away() -> None:
    """`want` waits for nothing; a verifier that was away is asked again until it answers."""
    told: list[str | None] = []
    grant = SIGNER.sign(claims_of(**IDS, now=NOON))
    async with KeySite(SIGNER.jwk()) as site, Grants(site.url) as grants:
        site.status = 503
        async with grants.keeping_fresh(told.append):
            assert told == [None]  # nothing waits for a key
            grants.want([grant])
            await eventually(lambda: told[-1] == f"{site.url}: answered 503")
            with pytest.raises(KeyUnknownError):
                grants.judge(grant, EXPECTED, NOON)
            site.status = 200
            await eventually(lambda: grants.keys)
            assert grants.judge(grant, EXPECTED, NOON)
            await eventually(lambda: told[-1] is None)
        with pytest.raises(LookupError, match="the caller's own"):
            async with grants.keeping_fresh(told.append):
                raise LookupError("the caller's own")
        asked = site.asked
        await asyncio.sleep(1.5)
        assert site.asked == asked  # nothing is left running


async def test_without_the_verifier_known_keys_still_count_and_unknown_ones_do_not() -> None:
    """Nobody is let in by a key that cannot be looked up; it is said that the keys are away."""
    hand = Hand()
    async with KeySite(SIGNER.jwk()) as site, Grants(site.url, monotonic=hand) as grants:
        site.status = 503
        for _ in range(2):
            with pytest.raises(KeysAwayError, match="503"):
                await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        site.status = 200
        hand.at += REFRESH_PAUSE
        assert await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
        site.status = 500
        hand.at += KEYS_AGE_MAX
        assert await grants.check(SIGNER.sign(claims_of(**IDS, now=NOON)), EXPECTED, NOON)
    async with Grants("http://127.0.0.1:9/keys") as grants:
        with pytest.raises(KeysAwayError, match="cannot be reached"):
            await grants.prepare([SIGNER.sign(claims_of(**IDS, now=NOON))])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [{"kid": 1}]}', b"\xff"])
def test_what_is_no_key_set_is_said_to_be_none(body: bytes) -> None:
    """A proxy's error page must not look like a set without keys."""
    with pytest.raises(KeysAwayError, match="no JWK set"):
        published_keys(body, "here")


def test_keys_of_other_kinds_are_passed_over() -> None:
    """RFC 7517, section 5."""
    jwks = [{"kid": "a", "kty": "RSA", "n": "x", "e": "AQAB"}, SIGNER.jwk()]
    keys = published_keys(json.dumps({"keys": jwks}).encode(), "here")
    assert keys.keys() == {SIGNER.key_id}
