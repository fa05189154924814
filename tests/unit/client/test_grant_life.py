"""No grant lives longer than the contract says, whoever signed it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from countersign.client import Expected, GrantRefusedError
from countersign.client.grant import Realm, judge_grant, judge_taught
from countersign.client.grants import published_keys
from countersign.contract import GRANT_LIFE_MAX, digest_of
from tests.support.grants import REQ, Signer, claims_of

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
RETIRED_AT = NOON - timedelta(days=3)
SIGNER = Signer()
KEYS = published_keys(
    json.dumps({"keys": [SIGNER.jwk(active_from="2020-01-01T00:00:00Z", retired_at=RETIRED_AT.isoformat())]}).encode(),
    "here",
)
EXPECTED = Expected(
    action="export",
    request_id=uuid4(),
    user_id=uuid4(),
    account_id=uuid4(),
    digest=digest_of({"rows": 3}),
    req=REQ,
)


@pytest.mark.parametrize(
    ("life", "what"),
    [(GRANT_LIFE_MAX, None), (GRANT_LIFE_MAX + timedelta(seconds=1), "life"), (timedelta(days=36_500), "life")],
)
def test_a_grant_for_ever_is_refused_by_acting_and_by_learning(life: timedelta, what: str | None) -> None:
    """Whoever has a retired key can date a grant back to its time, but cannot make it last until today."""
    ids = {name: getattr(EXPECTED, name) for name in ("request_id", "user_id", "account_id", "action", "digest")}
    issued = RETIRED_AT - timedelta(seconds=1)
    grant = SIGNER.sign(claims_of(**ids, now=issued, exp=int((issued + life).timestamp())))
    made_at = RETIRED_AT + timedelta(seconds=5)
    with pytest.raises(GrantRefusedError) as refused:
        judge_grant(grant, EXPECTED, NOON, KEYS, Realm())
    if what is None:
        assert refused.value.what == "exp"
        assert judge_taught(grant, EXPECTED, made_at, KEYS, Realm())
        return
    assert refused.value.what == what
    with pytest.raises(GrantRefusedError) as refused:
        judge_taught(grant, EXPECTED, made_at, KEYS, Realm())
    assert refused.value.what == what
