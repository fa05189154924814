"""Notices to numbers that no key of the notifier opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.events import a_two_factor_enabled
from tests.support.notices import notices_of, received, settled, tell
from tests.support.notifier_offsets import caught_up

if TYPE_CHECKING:
    from tests.support.notifier import Neighbourhood
    from tests.support.sns_stand_in import SnsStandIn

pytestmark = pytest.mark.servers
HERE = "UPDATE enrolment.phone_number SET key_id = $2 WHERE number_id = ANY($1::uuid[])"


async def test_numbers_that_no_key_opens_hold_up_nobody_else(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Some hundred of one account, first in line; and once their key is there they are told, too."""
    stuck = [await near.person(key_id="not-here")]
    stuck += [await near.person(account_id=stuck[0].account_id, key_id="not-here") for _ in range(299)]
    other = await near.person()
    async with near.notifier():
        await tell(near, a_two_factor_enabled(account_id=stuck[0].account_id))
        await caught_up(near.servers, "account.settings.v1")
        await tell(near, a_two_factor_enabled(account_id=other.account_id))
        await settled(near, other.account_id, 1)
        waiting = await notices_of(near, stuck[0].account_id)
    assert len(received(sns, other)) == 1
    assert {(row["state"], row["claims"]) for row in waiting} == {("due", 0)}
    assert "key.unknown" in {row["reason"] for row in waiting}
    key_id = near.servers.secrets["notifier"]["number_keys"][0]["key_id"]
    await near.db.execute(HERE, [person.number_id for person in stuck[:1]], key_id)
    await near.db.execute("UPDATE notifier.notice SET due_at = now() WHERE number_id = $1", stuck[0].number_id)
    async with near.notifier():
        await settled(near, stuck[0].account_id, 1)
    assert len(received(sns, stuck[0])) == 1
    await near.db.execute("DELETE FROM notifier.notice WHERE account_id = $1", stuck[0].account_id)
