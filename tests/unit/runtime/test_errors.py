"""The kind of a failure is told by the error."""

from __future__ import annotations

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError
from asyncpg.exceptions import _base  # its DataError is an InterfaceError; the one that asyncpg exports is not

from countersign.runtime.errors import Kind, ReadOnlyServerError, TooManyWaitingError, ends_session, kind_of, reason_of


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
        (asyncpg.InvalidCachedStatementError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.OutdatedSchemaCacheError("x"), Kind.INFRASTRUCTURE),
        (TooManyWaitingError(), Kind.INFRASTRUCTURE),
        (asyncpg.FeatureNotSupportedError("x"), Kind.BUG),
        (asyncpg.InFailedSQLTransactionError("x"), Kind.BUG),
        (asyncpg.InternalClientError("x"), Kind.INFRASTRUCTURE),
        (asyncpg.InterfaceError("connection is closed"), Kind.INFRASTRUCTURE),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), Kind.BUG),
        (asyncpg.InterfaceError("cannot perform operation: connection is closed"), Kind.INFRASTRUCTURE),
        (asyncpg.InterfaceError("pool is closed"), Kind.INFRASTRUCTURE),
        (asyncpg.InterfaceError("cannot use Connection.transaction() in a manually started transaction"), Kind.BUG),
        (asyncpg.DataError("invalid input for query argument $1: 'Connection GmbH'"), Kind.BUG),
        (asyncpg.DataError("invalid input for query argument $1: connection is closed"), Kind.BUG),
        (_base.DataError("invalid input for query argument $1: 'Connection GmbH'"), Kind.BUG),
        (_base.DataError("invalid input for query argument $1: connection is closed"), Kind.BUG),
        (asyncpg.ClientConfigurationError("connection is closed"), Kind.BUG),
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


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (asyncpg.ReadOnlySQLTransactionError("x"), True),
        (ReadOnlyServerError("x"), True),
        (asyncpg.AdminShutdownError("x"), True),
        (asyncpg.CannotConnectNowError("x"), True),
        (asyncpg.ConnectionDoesNotExistError("x"), True),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), True),
        (asyncpg.PostgresIOError("x"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (asyncpg.QueryCanceledError("x"), False),
        (asyncpg.InvalidCachedStatementError("x"), False),
        (asyncpg.DeadlockDetectedError("x"), False),
        (asyncpg.LockNotAvailableError("x"), False),
        (asyncpg.DiskFullError("x"), False),
        (asyncpg.UniqueViolationError("x"), False),
        (KafkaConnectionError(), False),
        (ZeroDivisionError(), False),
    ],
)
def test_which_errors_end_a_session(error: BaseException, *, ends: bool) -> None:
    """A session in doubt is closed; one whose statement alone failed is kept."""
    assert ends_session(error) is ends


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.ReadOnlySQLTransactionError("x"), "PostgreSQL takes no writes"),
        (asyncpg.TargetServerAttributeNotMatched("x"), "PostgreSQL takes no writes"),
        (ConnectionRefusedError(), "PostgreSQL does not answer: ConnectionRefusedError"),
    ],
)
def test_readiness_tells_a_standby_from_a_server_that_does_not_answer(error: BaseException, words: str) -> None:
    """The one is mended at the address, the other at the server."""
    assert reason_of(error).startswith(words)
