"""What a risk-evaluator does while the verifier's keys cannot be fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.evaluator import Evaluator, evaluating_with
from tests.support.grants import KeySite
from tests.support.kafka import eventually, publish
from tests.support.members import a_member

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def test_log_ins_are_assessed_while_the_keys_are_away(servers: Servers) -> None:
    """A grant whose key is not at hand waits by itself; once the key is there its place is learned."""
    evaluator = Evaluator(servers)
    async with KeySite() as site, evaluating_with(evaluator, site) as machine:
        member = await a_member(servers)
        first = await evaluator.ask(member)
        site.answering.clear()
        await publish(servers.kafka, evaluator.granted(first))  # by a key that nobody published yet
        await eventually(lambda: site.asked > 1)
        for _ in range(3):
            assert (await evaluator.ask(member, request_id=uuid4())).reasons == ["ip.new"]
        await eventually(lambda: "jwks.json: cannot be reached" in machine.health.reasons.get("verifier.keys", ""))
        assert "postgres.folds" not in machine.health.reasons
        site.keys.append(evaluator.signer.jwk())
        site.answering.set()

        async def learned() -> bool:
            return bool(await evaluator.places(member.account_id))

        await eventually(learned)
        await eventually(lambda: not machine.health.reasons)
