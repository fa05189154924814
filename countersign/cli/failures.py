"""Failures of servers, in words."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
from aiokafka.errors import KafkaError

from countersign.cli.surroundings import Failed
from countersign.runtime.broker.kafka_refusal import words_of_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

    from countersign.runtime.broker.kafka import KafkaConnection


@contextmanager
def naming_kafka(kafka: KafkaConnection) -> Iterator[None]:
    """Raise Failed, in words, for what Kafka does inside."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (KafkaError, OSError, TimeoutError) as error:
        raise Failed(asyncio.run(words_of_kafka(kafka))) from error


@contextmanager
def naming_postgres() -> Iterator[None]:
    """Raise Failed, in words, for what PostgreSQL does inside."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"PostgreSQL does not say: {type(error).__name__}: {error}") from error
