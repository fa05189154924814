"""One producer for many callers: started once, replaced only when dead, never closed under somebody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownProducerId,
)

from countersign.runtime.publishing.acks import Ack, answer_of
from countersign.runtime.publishing.producing import Producing
from tests.support.kafka import eventually
from tests.support.odd_topics import a_row
from tests.support.scripted_producer import OPEN, ScriptedProducer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.publishing.acks import Answer


def producing(*producers: ScriptedProducer) -> Producing:
    """Return what makes these, in order."""
    left = list(producers)
    return Producing(lambda: left.pop(0))


def acks(answers: Sequence[Answer]) -> list[Ack]:
    return [answer.ack for answer in answers]


@pytest.mark.parametrize(
    ("error", "ack", "dead"),
    [
        (MessageSizeTooLargeError(), Ack.REFUSED, False),
        (InvalidTopicError(), Ack.REFUSED, False),
        (TypeError("a header that is no bytes"), Ack.REFUSED, False),
        (TopicAuthorizationFailedError(), Ack.NO_RIGHTS, False),
        (ClusterAuthorizationFailedError(), Ack.NO_RIGHTS, False),
        (OutOfOrderSequenceNumber(), Ack.AGAIN, True),
        (UnknownProducerId(), Ack.AGAIN, True),
        (ProducerFenced(), Ack.AGAIN, True),
        (ProducerClosed(), Ack.AGAIN, True),
        (LeaderNotAvailableError(), Ack.AGAIN, False),
        (KafkaTimeoutError(), Ack.AGAIN, False),
        (UnknownError(), Ack.AGAIN, False),
        (TimeoutError(), Ack.AGAIN, False),
        (OSError(), Ack.AGAIN, False),
        (asyncio.CancelledError(), Ack.AGAIN, False),
    ],
)
def test_each_error_says_what_to_do_with_the_record(error: BaseException, ack: Ack, dead: bool) -> None:
    """Refused for good, our rights, try again; and whether the producer is at its end."""
    answer = answer_of(error)
    assert (answer.ack, answer.producer_dead) == (ack, dead)


async def test_a_record_that_fails_costs_nobody_the_producer() -> None:
    """Whatever is wrong with a record, with a partition or with our rights."""
    only = ScriptedProducer({"t": [MessageSizeTooLargeError(), TopicAuthorizationFailedError(), UnknownError(), None]})
    shared = producing(only)
    found = acks([(await shared.publish([a_row("t")]))[0] for _ in range(4)])
    assert found == [Ack.REFUSED, Ack.NO_RIGHTS, Ack.AGAIN, Ack.DONE]
    assert (shared.made, only.stopped) == (1, False)
    await shared.close(0)
    assert only.stopped


async def test_a_dead_producer_is_replaced_once_and_closed_after_its_last_answer() -> None:
    """Two callers find it dead; a third waits for another partition meanwhile, and gets its answer."""
    first = ScriptedProducer({"dead": [OPEN, OPEN], "well": [OPEN]})
    second = ScriptedProducer({})
    shared = producing(first, second)
    async with asyncio.TaskGroup() as group:
        dead = [group.create_task(shared.publish([a_row("dead")])) for _ in range(2)]
        well = group.create_task(shared.publish([a_row("well")]))
        await eventually(lambda: _are_open(first, 3))
        first.answer("dead", OutOfOrderSequenceNumber())
        for task in dead:
            assert acks(await task) == [Ack.AGAIN]
        assert acks(await shared.publish([a_row("dead")])) == [Ack.DONE]
        assert not first.stopped
        first.answer("well")
        assert acks(await well) == [Ack.DONE]
    await eventually(lambda: _is_stopped(first))
    assert (shared.made, second.stopped) == (2, False)
    await shared.close(0)


async def test_who_failed_with_an_old_producer_does_not_end_the_new_one() -> None:
    """The second answer comes when the first has long been replaced."""
    first, second = ScriptedProducer({"a": [OPEN], "b": [OPEN]}), ScriptedProducer({})
    shared = producing(first, second)
    async with asyncio.TaskGroup() as group:
        early, late = (group.create_task(shared.publish([a_row(topic)])) for topic in "ab")
        await eventually(lambda: _are_open(first, 2))
        first.answer("a", OutOfOrderSequenceNumber())
        await early
        await shared.ready()
        first.answer("b", OutOfOrderSequenceNumber())
        await late
    assert acks(await shared.publish([a_row("c")])) == [Ack.DONE]
    assert (shared.made, second.stopped) == (2, False)
    await shared.close(0)


async def test_a_producer_whose_sender_has_ended_is_replaced_whatever_the_error() -> None:
    """All that aiokafka says of what waited is KafkaError."""
    first, second = (
        ScriptedProducer({"t": [KafkaError("Unexpected error during batch delivery")]}),
        ScriptedProducer({}),
    )
    shared = producing(first, second)
    await shared.ready()
    first.dead = True
    assert acks(await shared.publish([a_row("t")])) == [Ack.DONE]
    assert second.sent
    await shared.close(0)


async def test_a_start_is_shared_and_nobodys_deadline_ends_it() -> None:
    """The first who waits for it is cancelled; the second gets the producer."""
    go = asyncio.Event()
    shared = producing(ScriptedProducer({}, start=go))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await shared.publish([a_row("t")])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shared.publish([a_row("t")]))
        await asyncio.sleep(0)
        go.set()
    assert acks(waiting.result()) == [Ack.DONE]
    assert shared.made == 1
    await shared.close(0)


async def test_a_failed_start_says_nothing_about_the_records() -> None:
    """They are tried again; the one that did not start is closed."""
    failing, second = ScriptedProducer({}, start=KafkaConnectionError()), ScriptedProducer({})
    shared = producing(failing, second)
    assert acks(await shared.publish([a_row("t"), a_row("t")])) == [Ack.AGAIN, Ack.AGAIN]
    assert failing.stopped
    assert acks(await shared.publish([a_row("t")])) == [Ack.DONE]
    await shared.close(0)


async def test_closing_ends_a_start_and_what_waits() -> None:
    """Nobody hangs, nobody is cancelled, and afterwards nothing is published."""
    starting = ScriptedProducer({}, start=asyncio.Event())
    shared = producing(starting)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shared.publish([a_row("t")]))
        await asyncio.sleep(0.01)
        await shared.close(0)
    assert acks(waiting.result()) == [Ack.AGAIN]
    assert starting.stopped
    assert acks(await shared.publish([a_row("t")])) == [Ack.AGAIN]


async def _are_open(producer: ScriptedProducer, wanted: int) -> bool:
    return len(producer.open) == wanted


async def _is_stopped(producer: ScriptedProducer) -> bool:
    return producer.stopped
