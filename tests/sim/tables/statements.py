"""Which function performs which statement. One that nobody wrote down here is an error that quotes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from countersign.runtime.database import stopped_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.tables.rows import Transaction
    from tests.sim.tables.server import Server


@dataclass(slots=True)
class Answer:
    """What a statement returns: rows, and what it says of itself."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    status: str = "OK 0"


class UnknownStatementError(LookupError):
    """The in-memory database has no function for a statement of the runtime: write one, and a case of the contract."""


_PERFORMERS: dict[str, tuple[str, Callable[..., Answer]]] = {}


def performs(name: str, statement: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Let a function stand for a statement. It is called with the server, the transaction and the arguments."""

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        _PERFORMERS[statement] = (name, function)
        return function

    return register


def performed(server: Server, by: Transaction, statement: str, args: tuple[Any, ...]) -> Answer:
    """Perform a statement. Raises UnknownStatementError, LockedError."""
    found = _PERFORMERS.get(statement)
    if found is None:
        server.unknown.append(statement)
        raise UnknownStatementError(f"no in-memory version of this statement:\n{statement}")
    return found[1](server, by, *args)


def known() -> dict[str, str]:
    """Return the names of the statements that are known, with their texts."""
    return {name: statement for statement, (name, _) in _PERFORMERS.items()}


for _plain in ("BEGIN", "COMMIT", "ROLLBACK", "DISCARD PLANS", "SELECT 1"):
    performs(_plain, _plain)(lambda _server, _by: Answer())


@performs("transaction_read_only", "SELECT current_setting('transaction_read_only')")
def _read_only(_server: Server, _by: Transaction) -> Answer:
    return Answer([{"current_setting": "off"}])


@performs("stopped_sessions.end_stopped_sessions", stopped_sessions.END)
def _no_session_was_stopped(_server: Server, _by: Transaction, _seconds: float) -> Answer:
    return Answer()


@performs("SELECT now()", "SELECT now()")
def _now(_server: Server, by: Transaction) -> Answer:
    return Answer([{"now": by.now}])
