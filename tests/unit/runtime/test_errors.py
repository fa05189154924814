"""The kind of a failure is told by the error."""

from __future__ import annotations

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError

from countersign.runtime.errors import Kind, kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(), Kind.INFRASTRUCTURE),
        (TimeoutError(), Kind.INFRASTRUCTURE),
        (KafkaConnectionError(), Kind.INFRASTRUCTURE),
        (asyncpg.DeadlockDetectedError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.AdminShutdownError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.TooManyConnectionsError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.LockNotAvailableError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.ReadOnlySQLTransactionError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.InFailedSQLTransactionError("x"), Kind.BUG),
        (asyncpg.InternalClientError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.InterfaceError("connection is closed"), Kind.INFRASTRUCTURE),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), Kind.BUG),
        (asyncpg.UniqueViolationError("x"), Kind.BUG),
        (asyncpg.CharacterNotInRepertoireError("x"), Kind.BUG),
        (ZeroDivisionError(), Kind.BUG),
        (ExceptionGroup("g", [TimeoutError(), ConnectionResetError()]), Kind.INFRASTRUCTURE),
        (ExceptionGroup("g", [TimeoutError(), KeyError()]), Kind.BUG),
    ],
)
def test_the_kind_is_told_by_the_error(error: BaseException, kind: Kind) -> None:
    """Servers that are away are waited for; everything else is looked into."""
    assert kind_of(error) is kind
