"""Events of the simulator, on two topics, and the ways in which their folding fails."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import orjson

from countersign.runtime.errors import KeyUnknownError, OffContractError
from countersign.runtime.messages.record import Incoming, Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.messages.record import Record

# Somebody waits for what becomes of the events of the first; nobody does for those of the second.
IN, QUIET = "sim.in", "sim.quiet"
TOPICS = (IN, QUIET)
OUT = "sim.out"
# What is owed for an event: by its fold, by what was due after it, and by the fold of the second topic.
FOLDED, DONE, NOTED = 1, 2, 3
_LONG_AGO = datetime.fromtimestamp(0, UTC)
OWED_BY_TOPIC = {IN: (FOLDED, DONE), QUIET: (NOTED,)}


class Asked(NamedTuple):
    """An event. `trouble` says in which way its folding fails, if it does."""

    id: int
    account: str
    trouble: str | None = None


def value_of(event: Asked) -> bytes:
    """Return an event's value as it is on the topic."""
    return orjson.dumps(tuple(event))


@lru_cache(maxsize=1000)
def owed_id(kind: int, event_id: int) -> UUID:
    """Return the id of what is owed for an event."""
    return UUID(int=(kind << 64) + event_id)


@lru_cache(maxsize=1000)
def owed_row(kind: int, event_id: int, account: str) -> Outgoing:
    """Return what is owed for an event."""
    return Outgoing(owed_id(kind, event_id), OUT, account.encode(), orjson.dumps([kind, event_id]), ())


class Troubles:
    """What goes wrong with events that ask for it. `mended` troubles have passed: the bug, or the key that lacked."""

    def __init__(self, mended: set[str]) -> None:
        self._mended = mended

    def meets(self, trouble: str, event: Asked) -> bool:
        """Tell whether this goes wrong with the event now."""
        return event.trouble == trouble and trouble not in self._mended

    def parsed(self, record: Record) -> Incoming[Asked]:
        """Return the event of a record. Raises OffContractError, or what a bug raises."""
        try:
            event = Asked(*orjson.loads(record.value or b"null"))
        except (ValueError, TypeError):
            raise OffContractError("value: expected an event") from None
        if self.meets("parse", event):
            raise ZeroDivisionError("a bug in parse")
        return Incoming(event, record, str(event.id), _LONG_AGO)

    def in_keys(self, event: Asked) -> None:
        """Raise what a bug in `keys` raises."""
        if self.meets("keys", event):
            raise ZeroDivisionError("a bug in keys")

    def in_decide(self, event: Asked) -> None:
        """Raise what `decide` raises: KeyUnknownError, or what a bug does."""
        if self.meets("key", event):
            raise KeyUnknownError("sim_keys", "k1")
        if self.meets("bug", event):
            raise ZeroDivisionError("a bug in decide")

    def in_save(self, events: Sequence[Asked]) -> None:
        """Raise what a bug in `save` raises."""
        if any(self.meets("save", event) for event in events):
            raise ZeroDivisionError("a bug in save")
