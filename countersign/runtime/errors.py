"""The kinds of failure. A kind is told by the error and not by the place where it surfaced."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Literal

import asyncpg
from aiokafka.errors import KafkaError


class OffContractError(Exception):
    """A record that no retry will make readable: it becomes a dead letter.

    The cause names the field and what was expected, and describes what came without quoting it. `alarm` is a log event
    of its own for it. `outcome`, if there is one, is saved in the transaction that keeps the dead letter.
    """

    kind: Literal["off_contract", "conflict"] = "off_contract"

    def __init__(self, cause: str, *, alarm: str | None = None, outcome: Any = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.alarm = alarm
        self.outcome = outcome


class ConflictError(OffContractError):
    """A record with the natural key of another record and other content: it becomes a dead letter, with an alarm."""

    kind = "conflict"


class KeyUnknownError(Exception):
    """A key id that this process does not hold yet. Waited for at most 60 s, then a dead letter."""

    def __init__(self, ring: str, key_id: str) -> None:
        super().__init__(f"key id not in {ring}")
        self.ring = ring
        self.key_id = key_id


class ReadOnlyServerError(ConnectionError):
    """The session belongs to a standby, or to a server that was set to read-only."""


class TooManyWaitingError(TimeoutError):
    """No connection to PostgreSQL was free in time: so many wait for one that another would only wait, too."""


class Kind(Enum):
    """What to do about it: wait and retry in place, or look for the record that caused it."""

    INFRASTRUCTURE = "infrastructure"
    BUG = "bug"


# Classes of SQLSTATE that tell of the server and not of the statement: connection, transaction rollback, resources,
# operator intervention, system error, limits; 25006 is a server that has become a standby, 25P03 one that has waited
# for us too long inside a transaction.
_SERVER_TROUBLE = ("08", "40", "53", "55", "57", "58", "25006", "25P03")


# A migration changed the tables under a prepared statement. asyncpg discards its statements, so a second try is well.
OUTDATED_PLAN = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)


def kind_of(error: BaseException) -> Kind:
    """Tell infrastructure from a bug; of a group, only if every part is infrastructure."""
    if isinstance(error, BaseExceptionGroup):
        kinds = {kind_of(part) for part in error.exceptions}
        return Kind.BUG if Kind.BUG in kinds else Kind.INFRASTRUCTURE
    if isinstance(error, OUTDATED_PLAN):
        return Kind.INFRASTRUCTURE
    if isinstance(error, asyncpg.PostgresError):
        state = str(getattr(error, "sqlstate", None) or "")
        return Kind.INFRASTRUCTURE if state.startswith(_SERVER_TROUBLE) else Kind.BUG
    if isinstance(error, asyncpg.InterfaceError):
        return Kind.INFRASTRUCTURE if _is_closed(error) else Kind.BUG
    known = (OSError, asyncio.TimeoutError, asyncpg.InternalClientError, KafkaError)
    return Kind.INFRASTRUCTURE if isinstance(error, known) else Kind.BUG


# What asyncpg says of a connection or pool that has ended. Its other sentences tell of a misuse of asyncpg by us.
_CLOSED = ("connection is closed", "pool is closed", "connection has been released back to the pool")


def _is_closed(error: asyncpg.InterfaceError) -> bool:
    """Return True if the connection has ended. A subclass may quote our data in its text."""
    return type(error) is asyncpg.InterfaceError and str(error).endswith(_CLOSED)


# Errors of a statement that leave its session as good as before: rolled back, locked, cancelled, out of resources.
_SESSION_IS_WELL = ("40", "53", "55", "57014")


def ends_session(error: BaseException) -> bool:
    """Return True if the session on which this error was met must be closed and not be used again."""
    if kind_of(error) is not Kind.INFRASTRUCTURE or isinstance(error, (KafkaError, *OUTDATED_PLAN)):
        return False
    state = str(getattr(error, "sqlstate", None) or "")
    return not (isinstance(error, asyncpg.PostgresError) and state.startswith(_SESSION_IS_WELL))


def takes_no_writes(error: BaseException) -> bool:
    """Return True if the error means that the server at the other end is a standby, or is set to read-only."""
    kinds = (asyncpg.ReadOnlySQLTransactionError, asyncpg.TargetServerAttributeNotMatched, ReadOnlyServerError)
    return isinstance(error, kinds)


def reason_of(error: BaseException) -> str:
    """Return for /readyz, in words, why PostgreSQL cannot be used."""
    if takes_no_writes(error):
        return "PostgreSQL takes no writes: the server that we reach is a standby or is set to read-only"
    if isinstance(error, TooManyWaitingError):
        return "no connection to PostgreSQL was free in time"
    return f"PostgreSQL does not answer: {type(error).__name__}"
