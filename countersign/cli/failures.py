"""Failures of servers, in words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
from aiokafka.errors import KafkaError

from countersign.cli.surroundings import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def naming_kafka(bootstrap: str) -> Iterator[None]:
    """Raise Failed, in words, for what Kafka does inside."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (KafkaError, OSError, TimeoutError) as error:
        raise Failed(f"Kafka at {bootstrap} does not answer ({type(error).__name__}): is it running?") from error


@contextmanager
def naming_postgres() -> Iterator[None]:
    """Raise Failed, in words, for what PostgreSQL does inside."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(f"PostgreSQL does not say: {type(error).__name__}: {error}") from error
