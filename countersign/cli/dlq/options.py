"""The options that the commands about dead letters share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from countersign.operations.letters import SERVICES


class KindName(StrEnum):
    """Why a record became a dead letter."""

    off_contract = "off_contract"
    conflict = "conflict"
    key_unknown = "key_unknown"
    bug = "bug"


class StateName(StrEnum):
    """How far a dead letter is."""

    new = "new"
    redrive = "redrive"
    done = "done"
    discarded = "discarded"
    too_old = "too_old"


Service = Annotated[str | None, typer.Option(help=f"one of {', '.join(SERVICES)}")]
OneService = Annotated[str, typer.Argument(metavar="SERVICE", help=f"one of {', '.join(SERVICES)}")]
Topic = Annotated[str | None, typer.Option(help="only this topic")]
Kind = Annotated[KindName | None, typer.Option(metavar="KIND", help=", ".join(KindName))]
State = Annotated[
    StateName | None,
    typer.Option(
        metavar="STATE", help=f"{', '.join(StateName)} (too_old: redriven after 40 days, so nothing was folded)"
    ),
]
BeginsWith = Annotated[str | None, typer.Option("--cause", help="how the cause begins")]
Source = Annotated[str | None, typer.Option(help="the producer's ce_source")]
Most = Annotated[int, typer.Option(min=1, max=10_000, help="at most this many")]
