"""Brakes whose database answers late, never, or in another order: in virtual time, on a consumer in memory."""

from __future__ import annotations

import asyncio

from countersign.runtime.folding import brake
from tests.support.scripted import TOPIC
from tests.support.scripted_worker import Scripted, at
from tests.support.virtual_time import run_virtually

POISON = [b"decide"] * 60  # of as many keys: the brake holds their partition


def test_a_release_between_two_holds_forgets_neither() -> None:
    """It asked before the second was kept, so its answer says nothing of the second."""

    async def story() -> None:
        scripted = Scripted(0, 1)
        asked, answer = asyncio.Event(), asyncio.Event()

        async def slowly(sql: str) -> None:
            if sql == brake.HELD and scripted.db.tables.braked:
                asked.set()
                await answer.wait()

        async with scripted.running():
            scripted.log.append(0, *POISON)
            await asyncio.sleep(0.9)
            scripted.db.before = slowly
            await asyncio.wait_for(asked.wait(), 30)
            scripted.log.append(1, *POISON)
            await asyncio.sleep(2)
            answer.set()
            scripted.db.before = _at_once
            await asyncio.sleep(5)
            assert set(scripted.db.tables.braked) == {(TOPIC, 0), (TOPIC, 1)}
            assert set(scripted.worker.braked) == {at(0), at(1)} == scripted.consumer.paused()
            scripted.fold.mended.add("decide")
            scripted.db.tables.braked.clear()
            await asyncio.sleep(5)
            assert not scripted.consumer.paused()
        assert scripted.log.committed == {at(0): 60, at(1): 60}

    run_virtually(story())


def test_a_release_that_is_learnt_after_a_rebalance_leaves_nothing_paused() -> None:
    """A batch from before the rebalance paused the partition in the new assignment, and nobody else resumes it."""

    async def story() -> None:
        scripted = Scripted()
        async with scripted.running():
            scripted.log.append(0, *POISON)
            await asyncio.sleep(5)
            assert scripted.consumer.paused() == {at(0)}
            scripted.fold.mended.add("decide")
            scripted.db.tables.braked.clear()
            await scripted.brakes.know(scripted.consumer)
            assert not scripted.consumer.paused()
            await asyncio.sleep(5)
        assert scripted.log.committed == {at(0): 60}

    run_virtually(story())


def test_a_process_that_waits_for_postgres_to_learn_its_brakes_is_not_ended() -> None:
    """It has records in hand and moves nothing, for a reason that is known."""

    async def story() -> None:
        scripted = Scripted()
        scripted.log.append(0, *[b""] * 250)  # more than it fetches at once
        scripted.db.before = _away
        async with scripted.running():
            await asyncio.sleep(300)
            assert scripted.health.reasons["postgres.brakes"].startswith("PostgreSQL does not answer")
            scripted.db.before = _at_once
            await asyncio.sleep(20)
            assert scripted.db.tables.folded == [(0, offset) for offset in range(250)]

    run_virtually(story())


def test_postgres_away_while_a_brake_is_held_is_told_as_postgres() -> None:
    """Kafka is well, and its consumer is kept; the partition is held all the same."""

    async def story() -> None:
        scripted = Scripted()

        async def no_brake(sql: str) -> None:
            if sql == brake.HOLD:
                raise ConnectionRefusedError

        scripted.db.before = no_brake
        async with scripted.running():
            scripted.log.append(0, *POISON)
            await asyncio.sleep(120)
            assert "kafka.consumer" not in scripted.health.reasons
            assert scripted.health.reasons["postgres.brakes"].startswith("PostgreSQL does not answer")
            assert scripted.consumer.paused() == {at(0)}
            scripted.db.before = _at_once
            await asyncio.sleep(20)
            assert scripted.db.tables.braked.keys() == {(TOPIC, 0)}
        assert len(scripted.consumers) == 1

    run_virtually(story())


def test_the_lag_of_a_held_partition_stays_visible_and_ends_no_process() -> None:
    """It is when somebody has to see it."""

    async def story() -> None:
        scripted = Scripted()
        async with scripted.running():
            scripted.log.append(0, *POISON)
            await asyncio.sleep(300)
            folded = scripted.log.committed[at(0)]
            assert 0 < folded < 60
            assert scripted.value("countersign_lag_records", 0) == 60 - folded
            seconds = scripted.metrics.registry.get_sample_value("countersign_lag_seconds", {"topic": TOPIC})
            assert seconds is not None
            assert seconds > 200

    run_virtually(story())


def test_no_gauge_of_a_partition_stays_after_a_rebalance() -> None:
    """Neither its lag nor its brake: another process shows them."""

    async def story() -> None:
        scripted = Scripted(0, 1)
        async with scripted.running():
            scripted.log.append(0, *POISON)
            await asyncio.sleep(20)
            assert scripted.value("countersign_braked", 0) == 1
            assert (scripted.value("countersign_lag_records", 0) or 0) > 0
            scripted.log.messages[at(2)] = []
            await scripted.consumer.rebalance(1, 2)
            await asyncio.sleep(20)
            assert scripted.value("countersign_braked", 0) is None
            assert scripted.value("countersign_lag_records", 0) is None
            await scripted.consumer.rebalance(0, 1)
            await asyncio.sleep(20)
            assert scripted.value("countersign_braked", 0) == 1
            assert (scripted.value("countersign_lag_records", 0) or 0) > 0

    run_virtually(story())


def test_no_lag_stays_after_a_rebalance_during_an_outage() -> None:
    """Kafka was away for a look, and when it was back the partition had gone."""

    async def story() -> None:
        scripted = Scripted(0, 1)
        async with scripted.running():
            scripted.log.append(0, b"")
            await asyncio.sleep(20)
            assert scripted.value("countersign_lag_records", 0) == 0
            consumer = scripted.consumer
            consumer.end_offsets, ends = _no_answer, consumer.end_offsets  # type: ignore[method-assign]
            await asyncio.sleep(10)
            await consumer.rebalance(1)
            consumer.end_offsets = ends  # type: ignore[method-assign]
            await asyncio.sleep(20)
            assert scripted.value("countersign_lag_records", 0) is None

    run_virtually(story())


async def _at_once(_sql: str) -> None:
    pass


async def _away(_sql: str) -> None:
    raise ConnectionRefusedError


async def _no_answer(_partitions: object) -> dict[object, int]:
    raise TimeoutError
