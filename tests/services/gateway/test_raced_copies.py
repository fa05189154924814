"""Somebody with a password and write access to access.requests races changed copies of genuine requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from countersign.contract import AccessRequested, req_of
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from countersign.runtime.broker.kafka import KafkaConnection
    from tests.support.whole_stack import Household, Person, WholeStack

    Visit = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

# Which of two partitions comes first in a fetch is nobody's choice, and stays the same for a process.
HOUSEHOLDS, RACES = 5, 3


@dataclass
class Attacker:
    """Reads the topic as it grows, and puts copies on partitions that the genuine records are not on."""

    consumer: Any
    producer: Any
    tries: int = 0

    async def genuine(self, user_id: UUID) -> Any:
        """Return the next request of a user as it lies on the topic."""
        async with asyncio.timeout(20):
            async for record in self.consumer:
                if str(user_id).encode() in (record.value or b""):
                    return record
        raise AssertionError("the topic ended")

    async def race(self, record: Any, **changed: object) -> bytes:
        """Publish a copy with some fields changed on another partition, and return its value."""
        value = json.dumps(json.loads(record.value) | changed).encode()
        self.tries += 1
        partition = (record.partition + self.tries) % 12
        await self.producer.send_and_wait(
            record.topic, value, key=record.key, headers=list(record.headers), partition=partition
        )
        return value


@asynccontextmanager
async def attacking(kafka: KafkaConnection) -> AsyncIterator[Attacker]:
    consumer = AIOKafkaConsumer(AccessRequested.topic, **kafka.arguments(), auto_offset_reset="latest")
    producer = AIOKafkaProducer(**kafka.arguments())
    await consumer.start()
    await producer.start()
    try:
        await consumer.seek_to_end()
        yield Attacker(consumer, producer)
    finally:
        await producer.stop()
        await consumer.stop()


@asynccontextmanager
async def asleep(pid: int) -> AsyncIterator[None]:
    """Hold a process, so that one fetch of it brings both copies: the fetch under way is over after half a second."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(1)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def judged(whole: WholeStack, request_id: str) -> tuple[str | None, bool]:
    """Wait for the assessment; return the hash of what was judged, and whether the place counted as known."""
    found: list[Any] = []

    async def assessed() -> bool:
        async with whole.database() as db:
            found[:] = await db.fetch("SELECT * FROM risk_evaluator.assessment WHERE request_id = $1::uuid", request_id)
        return bool(found)

    await until(assessed, "an assessment")
    return dict(found[0]).get("req"), found[0]["place_known"]


async def test_a_copy_from_a_known_place_opens_nothing(visit: Visit, whole: WholeStack) -> None:
    """The thief has the password and the topic, and the owner's address: whichever copy wins, no session opens."""
    for _ in range(HOUSEHOLDS):
        owner = (await whole.household()).owner
        if await _wins_a_login(visit, whole, owner):
            await until(partial(is_conflict, whole, owner.account_id), "a dead letter of the losing copy")
            return
    raise AssertionError("no copy won its race")


async def _wins_a_login(visit: Visit, whole: WholeStack, owner: Person) -> bool:
    async with visit() as me, visit() as thief, attacking(whole.kafka) as attacker:
        await me.log_in(owner)
        await attacker.genuine(owner.user_id)
        for _ in range(RACES):
            async with asleep(int(whole["PID_RISK_EVALUATOR"])):
                asked = asyncio.ensure_future(thief.give_password(owner))
                record = await attacker.genuine(owner.user_id)
                await attacker.race(record, client={"ip": me.address, "locale": "en"})
            assert (await asked).goes_to == "/login/code"
            _, known = await judged(whole, json.loads(record.value)["request_id"])
            page = await thief.get("/login/code")
            assert page.goes_to != "/", "in without a code"
            assert "Hi " not in (await thief.get("/")).text
            if known:
                refused = await settled(thief)
                assert (refused.status, refused.state) == (403, "denied")
                return True
            await thief.ask("POST", "/login/code", data={"csrf": page.hidden("csrf"), "do": "cancel"})
    return False


async def settled(thief: Any) -> Any:
    for _ in range(100):
        page = await thief.get("/login/code")
        if page.state != "moment":
            return page
        await asyncio.sleep(0.05)
    raise AssertionError("the log-in never settled")


async def test_a_copy_with_another_summary_releases_nothing(visit: Visit, whole: WholeStack) -> None:
    """The text says "Canteen menu, 1 row"; its code releases no contacts."""
    for _ in range(HOUSEHOLDS):
        household = await whole.household()
        async with visit() as me:
            await me.log_in(household.owner)
            export = await _wins_an_export(me, whole, household)
            if export is None:
                continue
            await me.give_code(await whole.code(household.owner.number, "Canteen menu"), export)
            await until(partial(is_refused, whole, household.account_id), "a dead letter of the grant")
            assert (await me.get(f"{export}/file")).status != 200
            assert (await me.get(export)).state in {"moment", "file"}
            return
    raise AssertionError("no copy won its race")


async def _wins_an_export(me: Any, whole: WholeStack, household: Household) -> str | None:
    async with attacking(whole.kafka) as attacker:
        for _ in range(RACES):
            page = await me.get(f"/contacts?list={household.list_id}")
            async with asleep(int(whole["PID_RISK_EVALUATOR"])):
                form = {"list": str(household.list_id), "format": "csv", "csrf": page.hidden("csrf")}
                export = (await me.ask("POST", "/exports", data=form | {"once": page.hidden("once")})).goes_to
                record = await attacker.genuine(household.owner.user_id)
                value = await attacker.race(record, summary={"what": "Canteen menu", "rows": 1, "format": "CSV"})
            req, _ = await judged(whole, json.loads(value)["request_id"])
            await me.asked(export)
            if req == req_of(value):
                return str(export)
            await me.ask("POST", export, data={"csrf": (await me.get(export)).hidden("csrf"), "do": "cancel"})
    return None


async def is_conflict(whole: WholeStack, account_id: UUID) -> bool:
    return await _letters(whole, "risk_evaluator", account_id, "request_id: assessed before")


async def is_refused(whole: WholeStack, account_id: UUID) -> bool:
    return await _letters(whole, "exports", account_id, "grant.req: ")


async def _letters(whole: WholeStack, service: str, account_id: UUID, cause: str) -> bool:
    async with whole.database() as db:
        found = await db.fetchval(
            f"SELECT count(*) FROM {service}.dead_letter WHERE record_key = $1 AND starts_with(cause, $2)",
            str(account_id).encode(),
            cause,
        )
    return bool(found)
