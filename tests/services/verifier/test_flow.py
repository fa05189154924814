"""From an assessment to its end, on real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers


async def test_a_code_opens_a_login(verifier: VerifierUnderTest) -> None:
    """Challenged, texted, answered, granted: by HTTP and on the topic alike."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    reply = await verifier.answer(challenge_id, code)
    assert (reply["status"], reply["verdict"]) == (200, "accepted")
    decision = await verifier.decision(event.request_id)
    assert decision.grant == reply["grant"]
    state = await verifier.state(event.request_id, past=True)
    assert (state["state"], state["grant"]) == ("granted", reply["grant"])


async def test_a_known_place_gets_its_grant_without_a_code(verifier: VerifierUnderTest) -> None:
    """The floor honours `ip.known`."""
    member = await verifier.member()
    event = await verifier.assess(member, outcome="allow", reasons=["ip.known"], place_known=True)
    state = await verifier.state(event.request_id, wait=10)
    assert (state["state"], state["challenge"]) == ("granted", None)
    decision = await verifier.decision(event.request_id)
    assert (decision.method, decision.challenge_id, decision.number_id) == ("none", None, None)
