"""Which texts may use the reserve of the text limits: the verifier says it in the event, the first time and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.kafka import eventually

if TYPE_CHECKING:
    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers

NEW = {"outcome": "challenge", "reasons": ["ip.new"], "place_known": False}
KNOWN = {"action": "export", "outcome": "challenge", "reasons": ["export.always"], "place_known": True}
MANAGER = {"outcome": "challenge", "reasons": ["action.always"], "place_known": False}


@pytest.mark.parametrize(
    ("role", "asked", "reserved"),
    [("owner", NEW, False), ("owner", KNOWN, True), ("account_manager", MANAGER, True)],
    ids=["new place", "known place", "account manager"],
)
async def test_a_text_says_whether_it_may_use_the_reserve(
    verifier: VerifierUnderTest, role: str, asked: dict[str, Any], *, reserved: bool
) -> None:
    """The first text and a resend alike, and the code opens only with that word unchanged."""
    member = await verifier.member(role=role)
    _, challenge_id = await verifier.challenged(member, **asked)
    await verifier.code(challenge_id)
    await verifier.db.execute(
        "UPDATE verifier.send SET issued_at = issued_at - interval '2 minutes' WHERE challenge_id = $1", challenge_id
    )
    assert (await verifier.resend(challenge_id))["status"] == 202

    async def sent_again() -> bool:
        return (challenge_id, 2) in verifier.phones.issued

    await eventually(sent_again)
    assert [verifier.phones.issued[challenge_id, send].reserved for send in (1, 2)] == [reserved] * 2
    assert [verifier.phones.raw[challenge_id, send]["reserved"] for send in (1, 2)] == [reserved] * 2
