"""The options that the commands share."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

import typer

from countersign.cli.surroundings import CommandFailedError

ReplayId = Annotated[str, typer.Argument(metavar="ID", help="the replay's id, as `countersign replay status` lists it")]
WhyNeeded = Annotated[str, typer.Option("--reason", help="why, for whoever asks later")]
Confirm = Annotated[
    str | None, typer.Option(metavar="TOPIC", help="the topic's name once more, where OPERATOR_CONTEXT is not local")
]

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")
_RATE_MIN, _RATE_MAX = 0.1, 10_000.0


def rate_of(text: str) -> float:
    """Return the records a second of `200` or `200/s`. Raises CommandFailedError."""
    found = _RATE.fullmatch(text)
    rate = float(found[1]) if found is not None else 0.0
    if not _RATE_MIN <= rate <= _RATE_MAX:
        raise CommandFailedError(
            f"--rate {text}: expected records a second, from {_RATE_MIN:g} to {_RATE_MAX:g}, such as 200/s"
        )
    return rate


def id_of(text: str) -> UUID:
    """Return the id of a replay. Raises CommandFailedError."""
    try:
        return UUID(text)
    except ValueError:
        raise CommandFailedError(f"{text} is no id of a replay: `countersign replay status` lists them") from None
