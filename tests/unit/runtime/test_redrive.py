"""Dead letters that are folded again end in what became of them, in one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from countersign.runtime.folding.dead_letter import Redrive
from countersign.runtime.folding.redrive import Redrives
from tests.support.scripted import (
    NOON,
    QUIET,
    TOPIC,
    Publishing,
    ScriptedDatabase,
    ScriptedFold,
    ScriptedLink,
    a_record,
)

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Record


async def _states(record: Record, fold: ScriptedFold) -> list[str]:
    """Redrive one letter and return the states that it was committed with, one after the other."""
    db = ScriptedDatabase()
    db.tables.letters[record.partition, record.offset] = "redrive"
    link: Any = ScriptedLink(db)
    publishing: Any = Publishing()
    await Redrives({TOPIC: fold}, link, publishing, QUIET).act(Redrive(record, "bug", timedelta()))
    return [committed.letters[record.partition, record.offset] for committed in db.history]


async def test_a_letter_that_still_fails_is_never_done() -> None:
    """Not for a moment: a crash in between would hide it for ever."""
    assert await _states(a_record(7, value=b"decide"), ScriptedFold()) == ["new"]


async def test_a_letter_whose_key_is_forgotten_is_not_done() -> None:
    """After 40 days nobody knows whether it was folded before, so it is not folded, and its state says so."""
    fold = ScriptedFold()
    fold.now = NOON + timedelta(days=41)
    assert await _states(a_record(7), fold) == ["too_old"]


async def test_a_letter_that_is_folded_is_done() -> None:
    """In the transaction that folded it."""
    assert await _states(a_record(7), ScriptedFold()) == ["done"]
