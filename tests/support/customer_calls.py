"""What customers call an account manager about: requests that ended in each way, made on a running stack."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from countersign.client import Decisions
from countersign.contract import Client
from countersign.runtime.messages.cloudevents import write
from tests.support.events import an_access_requested, an_sms_refused, clock
from tests.support.frozen import frozen
from tests.support.kafka import publish
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.whole_stack import Person, WholeStack

EXPIRED = "UPDATE verifier.challenge SET expires_at = clock_timestamp() WHERE request_id = $1 AND closed_at IS NULL"
CHALLENGE = "SELECT challenge_id, number_id FROM verifier.challenge WHERE request_id = $1 AND closed_at IS NULL"
NEWEST = "SELECT request_id FROM verifier.request WHERE user_id = $1 ORDER BY taken_at DESC LIMIT 1"
SETTLED = "SELECT settled_at IS NOT NULL FROM notifier.dispatch WHERE challenge_id = $1"
REFUSED = """
UPDATE notifier.dispatch d
   SET state = 'refused', reason = 'provider.refused', provider_message_id = NULL,
       created_at = s.issued_at + took * 0.2, claimed_at = s.issued_at + took * 0.4,
       settled_at = s.issued_at + took * 0.8
  FROM (SELECT s.*, v.decided_at - s.issued_at AS took
          FROM verifier.send s JOIN verifier.challenge c USING (challenge_id)
                               JOIN verifier.decision v USING (request_id)
       ) AS s
 WHERE s.challenge_id = d.challenge_id AND s.send = d.send AND d.challenge_id = $1
"""
PAUSE = "INSERT INTO notifier.pause (pause_id, account_id) VALUES ($1, $2)"
RESUME = "UPDATE notifier.pause SET ended_at = now() WHERE pause_id = $1"


async def newest(whole: WholeStack, person: Person) -> UUID | None:
    """Return the newest request of a person."""
    async with whole.database() as db:
        found: UUID | None = await db.fetchval(NEWEST, person.user_id)
        return found


async def asked(whole: WholeStack, person: Person, ask: Callable[[], Awaitable[object]]) -> UUID:
    """Ask for something in a person's name; return the request that this makes."""
    before = await newest(whole, person)
    await ask()

    async def is_there() -> bool:
        return await newest(whole, person) != before

    await until(is_there, "the request")
    found = await newest(whole, person)
    assert found is not None
    return found


async def ended(whole: WholeStack, request_id: UUID) -> str | None:
    """Wait for the end of a request; return the reason if it was denied."""
    async with Decisions(whole["VERIFIER_URL"], whole["SERVICE_TOKEN"]) as decisions:
        found = await decisions.wait(request_id, 30, past_challenged=True)
    assert found.state in {"granted", "denied"}, found
    return found.reason


async def too_late(whole: WholeStack, person: Person) -> UUID:
    """Publish a request that is an hour old."""
    event = an_access_requested(account_id=person.account_id, user_id=person.user_id, client=Client(ip="203.0.113.7"))
    await publish(whole.kafka, write(event, source="/test", time=clock() - timedelta(hours=1)))
    assert await ended(whole, event.request_id) == "request.stale"
    return event.request_id


async def run_out(whole: WholeStack, request_id: UUID) -> UUID:
    """Let the code of a request run out."""
    async with whole.database() as db:
        await db.execute(EXPIRED, request_id)
    assert await ended(whole, request_id) == "code.expired"
    return request_id


async def undeliverable(whole: WholeStack, person: Person, ask: Callable[[], Awaitable[object]]) -> UUID:
    """Let the provider refuse the text of what `ask` asks for.

    The local one takes every text, so the notifier is held up while its word of a refusal is written here; then its row
    of the text is made to say the same.
    """
    with frozen(whole, "NOTIFIER"):
        request_id = await asked(whole, person, ask)
        async with whole.database() as db:

            async def challenged() -> bool:
                return await db.fetchrow(CHALLENGE, request_id) is not None

            await until(challenged, "the challenge")
            row = await db.fetchrow(CHALLENGE, request_id)
        event = an_sms_refused(
            challenge_id=row["challenge_id"],
            account_id=person.account_id,
            user_id=person.user_id,
            number_id=row["number_id"],
        )
        await publish(whole.as_writer(event.topic), write(event, source="/test", time=clock()))
        assert await ended(whole, request_id) == "sms.refused"
    async with whole.database() as db:

        async def settled() -> bool:
            return bool(await db.fetchval(SETTLED, row["challenge_id"]))

        await until(settled, "the notifier's row")
        await db.execute(REFUSED, row["challenge_id"])
    return request_id


async def stopped(whole: WholeStack, person: Person, ask: Callable[[], Awaitable[object]]) -> UUID:
    """Stop the texts of the person's account while `ask` asks for something."""
    pause_id = uuid4()
    async with whole.database() as db:
        await db.execute(PAUSE, pause_id, person.account_id)
        try:
            request_id = await asked(whole, person, ask)
            assert await ended(whole, request_id) == "sms.suppressed"
        finally:
            await db.execute(RESUME, pause_id)
    return request_id
