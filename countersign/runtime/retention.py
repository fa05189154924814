"""How long rows stay: each table has a rule that ends its rows, or a reason why it needs none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.database.postgres import Connection

# Longer than any topic that could bring an event back (30 days): an older record is not folded, so its natural key may
# be forgotten. Every table that keeps natural keys, and every key that signed, stays for this long.
KEYS_KEPT = timedelta(days=40)
ROWS_MAX = 1_000  # chosen: a rule's rows in one transaction; while there are more the next one follows at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What ends the rows of a table. `why` says what is kept, and why no longer.

    `statement` deletes or erases what is older than $1, at most $2 rows; it skips rows that others have locked, and an
    index finds them. None: nothing needs to end the rows, and `why` is the reason. `name` tells two rules of one table
    apart.
    """

    table: str
    why: str
    kept: timedelta | None = None
    statement: str | None = None
    name: str = ""


def stays(table: str, why: str) -> Rule:
    """Return the rule of a table whose rows nothing has to end."""
    return Rule(table=table, why=why)


async def apply(db: Connection, rules: Sequence[Rule], rows_max: int = ROWS_MAX) -> bool:
    """Apply every rule once; return True if one of them may have left rows for the next time."""
    counts = [await _ended(db, rule, rows_max) for rule in rules if rule.statement is not None]
    return any(count >= rows_max for count in counts)


async def _ended(db: Connection, rule: Rule, rows_max: int) -> int:
    assert rule.statement is not None
    assert rule.kept is not None
    return int((await db.execute(rule.statement, rule.kept, rows_max)).rpartition(" ")[2])  # "DELETE 12"
