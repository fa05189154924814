"""What commands share that change something: who asks and why, what would change, and what did."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from countersign.cli.options import reason_of
from countersign.operations import journal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

NOT_DONE = "Nothing was done: add --reason and --execute.\n"


class By:
    """Who asks for a change, and why. Raises CommandFailedError where it is to be done and no reason is given."""

    def __init__(self, reason: str | None, who: str | None, *, execute: bool) -> None:
        self.why = reason_of(reason) if execute else ""
        self.who = who or journal.who()
        self.execute = execute


async def carry_out(
    act: Callable[[], Awaitable[int]],
    wanted: int,
    by: By,
    *,
    shown: str,
    done_words: str,
    told: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Print how many would change, change them if that is asked for, and print how many did.

    `shown` and `done_words` are for people; with `as_json` it is `told` and what became of it.
    """
    if not as_json:
        sys.stdout.write(shown)
    changed = await act() if by.execute and wanted else 0
    if as_json:
        sys.stdout.write(json.dumps({**told, "changed": changed, "done": by.execute}) + "\n")
    elif wanted:
        sys.stdout.write(f"{changed} {done_words}.\n" if by.execute else NOT_DONE)
