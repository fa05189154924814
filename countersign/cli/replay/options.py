"""The options that the commands share, and times as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from countersign.cli.surroundings import Failed
from countersign.client.clock import system_clock
from countersign.operations.durations import parse_duration

ReplayId = Annotated[str, typer.Argument(metavar="ID", help="the replay's id, as `countersign replay status` lists it")]
WhyNeeded = Annotated[str, typer.Option("--reason", help="why, for whoever asks later")]
Confirm = Annotated[
    str | None, typer.Option(metavar="TOPIC", help="the topic's name once more, where OPERATOR_CONTEXT is not local")
]

_AGO = re.compile(r"[0-9]+[smhd]")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")
_RATE_MIN, _RATE_MAX = 0.1, 10_000.0


def moment_of(text: str | None, option: str) -> datetime | None:
    """Return the time of `2026-07-01T10:00:00Z`, or of `2h`: two hours ago. Raises Failed."""
    if text is None:
        return None
    if _AGO.fullmatch(text):
        try:
            return system_clock() - parse_duration(text)
        except ValueError as error:
            raise Failed(f"{option} {error}") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(
            f"{option} {text}: expected a time such as 2026-07-01T10:00:00Z, or 2h for two hours ago"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def rate_of(text: str) -> float:
    """Return the records a second of `200` or `200/s`. Raises Failed."""
    found = _RATE.fullmatch(text)
    rate = float(found[1]) if found is not None else 0.0
    if not _RATE_MIN <= rate <= _RATE_MAX:
        raise Failed(f"--rate {text}: expected records a second, from {_RATE_MIN:g} to {_RATE_MAX:g}, such as 200/s")
    return rate


def id_of(text: str) -> UUID:
    """Return the id of a replay. Raises Failed."""
    try:
        return UUID(text)
    except ValueError:
        raise Failed(f"{text} is no id of a replay: `countersign replay status` lists them") from None
