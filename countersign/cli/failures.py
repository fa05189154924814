"""Failures of servers, in words."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiokafka.errors import KafkaError

from countersign.cli.surroundings import CommandFailedError
from countersign.runtime.broker.kafka_refusal import words_of_kafka
from countersign.runtime.checkup import without_logs_of_kafka
from countersign.runtime.database.postgres_refusal import POSTGRES_ERRORS, words_of_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from countersign.runtime.broker.kafka import KafkaConnection


@contextmanager
def naming_kafka(kafka: KafkaConnection) -> Iterator[None]:
    """Raise CommandFailedError, in words, for what Kafka does inside. aiokafka's own lines on it are not printed."""
    try:
        with without_logs_of_kafka():
            yield
    except BrokenPipeError:
        raise
    except (KafkaError, OSError, TimeoutError) as error:
        with without_logs_of_kafka():
            raise CommandFailedError(asyncio.run(words_of_kafka(kafka))) from error


@contextmanager
def naming_postgres(dsn: str | None = None) -> Iterator[None]:
    """Raise CommandFailedError, in words, for what PostgreSQL does inside; `dsn` tells which server that is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except POSTGRES_ERRORS as error:
        sentence, todo = words_of_postgres(error)
        where = "" if dsn is None else _address(dsn)
        raise CommandFailedError(f"{sentence}{where}; {todo}") from error


def _address(dsn: str) -> str:
    """Return the host and the port of an address, and nothing of its user and password."""
    with suppress(ValueError):
        parts = urlsplit(dsn)
        if parts.hostname:
            return f" (at {parts.hostname}:{parts.port or 5432})"
    return ""
