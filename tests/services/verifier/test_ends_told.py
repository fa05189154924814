"""What logs and counters say of the ends of challenges: each once, after its commit, whoever closed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from countersign.runtime.database.postgres import open_pool
from tests.support.kafka import eventually
from tests.support.verifier_parts import wired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any
    from uuid import UUID

    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers


def _ends(logs: Iterable[Mapping[str, Any]], challenge_id: UUID) -> list[str]:
    return [
        line["outcome"]
        for line in logs
        if line["event"] == "challenge_ended" and line["challenge_id"] == str(challenge_id)
    ]


async def test_an_expiry_that_was_rolled_back_is_not_told(verifier: VerifierUnderTest) -> None:
    """The database fails at the commit; the second try is told, once."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    pool = await open_pool(verifier.settings.postgres.dsn.get_secret_value(), "verifier", 1)
    async with wired(verifier.settings) as (parts, _), pool.acquire() as db:
        expiry = parts.dues[0]
        with capture_logs() as logs:
            failing = db.transaction()
            await failing.start()
            await expiry.settle(db, [challenge_id])
            await failing.rollback()
            assert _ends(logs, challenge_id) == []
            async with db.transaction():
                settled = await expiry.settle(db, [challenge_id])
            assert _ends(logs, challenge_id) == []
            expiry.committed(settled.done)
    await pool.close()
    assert _ends(logs, challenge_id) == ["code.expired"]


async def test_a_challenge_that_a_new_one_crowds_out_is_told(verifier: VerifierUnderTest) -> None:
    """The fourth of one user and place ends the first, and whoever reads the log sees that end."""
    member = await verifier.member()
    with capture_logs() as logs:
        _, first = await verifier.challenged(member)
        for _ in range(3):
            await verifier.challenged(member)

        async def is_told() -> bool:
            return _ends(logs, first) == ["cancelled"]

        await eventually(is_told)
