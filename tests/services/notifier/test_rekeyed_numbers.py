"""A key of numbers is replaced: what enrolment sealed anew opens for the notifier, with and without the old key."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from countersign.runtime.database.postgres import open_pool
from services.enrolment.rekey import rekey
from tests.support.enrolment import settings_of
from tests.support.events import clock

if TYPE_CHECKING:
    from tests.support.notifier import Neighbourhood, Person
    from tests.support.sns_stand_in import SnsStandIn

pytestmark = pytest.mark.servers


def a_key(ago: timedelta) -> dict[str, Any]:
    """Return a key as the secrets file holds it, active since then."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    return {"key_id": f"key-{secrets.token_hex(4)}", "secret": secret, "active_from": (clock() - ago).isoformat()}


async def rotate(near: Neighbourhood, *ring: dict[str, Any]) -> None:
    """Seal all numbers under the ring's current key."""
    pool = await open_pool(near.servers.dsn_of("enrolment"), "enrolment")
    try:
        await rekey(pool, settings_of(near.servers, number_keys=list(ring)))
    finally:
        await pool.close()


async def test_codes_leave_before_and_after_the_old_key_is_removed(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Both hold the new key before it is used; then enrolment seals anew; then the old one goes."""
    (old,) = near.servers.secrets["enrolment"]["number_keys"]
    new, person = a_key(timedelta(minutes=1)), await near.person()
    try:
        async with near.notifier(number_keys=[old, new]):
            assert await arrives(near, sns, person)
            await rotate(near, old, new)
            assert await arrives(near, sns, person)
        async with near.notifier(number_keys=[new]):
            assert await arrives(near, sns, person)
    finally:  # other tests know the old key alone
        await rotate(near, old, new | {"active_from": (clock() - timedelta(days=99_999)).isoformat()})


async def arrives(near: Neighbourhood, sns: SnsStandIn, person: Person) -> bool:
    """Issue a challenge; tell whether its code came to the person's phone."""
    challenge = near.challenge(person)
    await near.issue(challenge)
    await near.settled(challenge)
    return [text.number for text in sns.with_code(challenge.code)] == [person.number]
