"""Invariant 11: no code and no full number in what is written down; no grants and no bearers in logs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.checks.view import View
    from tests.support.world import World

# Digits that stand alone: in times and hexadecimal any six or eight digits occur by chance.
_ALONE = re.compile(r"(?<![0-9A-Za-z.+_-])[0-9]{6,8}(?![0-9A-Za-z_-])")
_NUMBERS = re.compile(r"[0-9]{9,15}")
_GRANT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{40,}")


def nothing_leaks(view: View) -> Iterator[str]:
    """11. Search everything that can be read."""
    codes = set(view.codes)
    numbers = {text.number.removeprefix("+") for text in view.world.texts}
    for where, text in _plain(view.world):
        if codes.intersection(_ALONE.findall(text)):
            yield f"{where}: a code"
        if numbers.intersection(_NUMBERS.findall(text)):
            yield f"{where}: a full number"
        if any(bearer in text for bearer in view.world.bearers):
            yield f"{where}: a bearer or password"
    for name, text in view.world.written.items():
        if _GRANT.search(text):
            yield f"{name}: a grant"


def _plain(world: World) -> Iterator[tuple[str, str]]:
    """Return everything under its name: a record, a column, a log."""
    for topic, records in world.records.items():
        for record in records:
            parts = [record.key or b"", record.value or b"", *(value for _, value in record.headers)]
            text = "\n".join(part.decode("utf-8", "replace") for part in parts)
            yield f"{topic}/{record.partition}/{record.offset}", text
    for name, rows in world.tables.items():
        for column in sorted({column for row in rows for column in row}):
            yield f"{name}.{column}", "\n".join(_text(row.get(column)) for row in rows)
    yield from world.written.items()


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
