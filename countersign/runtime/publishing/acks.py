"""What became of a record that was sent, by the error of its acknowledgement."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
    InvalidTopicError,
    InvalidTxnState,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownProducerId,
    UnsupportedForMessageFormatError,
)

# The same record will be refused again, whoever sends it.
REFUSED_FOR_GOOD = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    InvalidTimestampError,
    UnsupportedForMessageFormatError,
)
# Somebody has to give us the right to write; nothing is wrong with the record or with the producer.
RIGHTS_MISSING = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
# The brokers do not accept this producer's numbers any more, or it is closed. aiokafka counts a batch that was refused
# although the broker did not, so the batch after it is out of order; another producer begins to count anew.
PRODUCER_DEAD = (
    OutOfOrderSequenceNumber,
    UnknownProducerId,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    ProducerFenced,
    ProducerClosed,
)
# What `send` may raise that is no bug: everything else condemns the record it was raised for.
TROUBLE = (KafkaError, OSError, TimeoutError, asyncio.CancelledError)


class Ack(Enum):
    """What to do with a record after it was sent."""

    DONE = "done"  # all in-sync replicas hold it
    AGAIN = "again"  # try again after a pause
    REFUSED = "refused"  # no retry helps
    NO_RIGHTS = "no_rights"  # try again after a pause, and tell somebody


@dataclass(frozen=True, slots=True)
class Answer:
    """The acknowledgement of one record. `producer_dead`: another producer has to send it.

    `place` has the topic, the partition and the offset of a record that the brokers hold.
    """

    ack: Ack
    error: BaseException | None = None
    producer_dead: bool = False
    place: object = None

    @property
    def reason(self) -> str:
        """The name of the error."""
        return type(self.error).__name__


DONE = Answer(Ack.DONE)


def answer_of(error: BaseException) -> Answer:
    """Return what an error says about the record that it was raised for."""
    if isinstance(error, REFUSED_FOR_GOOD):
        return Answer(Ack.REFUSED, error)
    if isinstance(error, RIGHTS_MISSING):
        return Answer(Ack.NO_RIGHTS, error)
    if isinstance(error, PRODUCER_DEAD):
        return Answer(Ack.AGAIN, error, producer_dead=True)
    if isinstance(error, TROUBLE):
        return Answer(Ack.AGAIN, error)
    return Answer(Ack.REFUSED, error)
