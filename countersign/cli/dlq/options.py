"""The options that the commands about dead letters share."""

from __future__ import annotations

from typing import Annotated

import typer

from countersign.operations.letters import SERVICES

Service = Annotated[str | None, typer.Option(help=f"one of {', '.join(SERVICES)}")]
OneService = Annotated[str, typer.Argument(metavar="SERVICE", help=f"one of {', '.join(SERVICES)}")]
Topic = Annotated[str | None, typer.Option(help="only this topic")]
Kind = Annotated[str | None, typer.Option(help="off_contract, conflict, key_unknown or bug")]
State = Annotated[
    str | None,
    typer.Option(help="new, redrive, done, discarded or too_old (redriven after 40 days, so nothing was folded)"),
]
BeginsWith = Annotated[str | None, typer.Option("--cause", help="how the cause begins")]
Source = Annotated[str | None, typer.Option(help="the producer's ce_source")]
Most = Annotated[int, typer.Option(min=1, max=10_000, help="at most this many")]
