"""The options that commands share, and what every change has to be given."""

from __future__ import annotations

from typing import Annotated

import typer

from countersign.cli.surroundings import CommandFailedError

AsJson = Annotated[bool, typer.Option("--json", help="print JSON objects, one a line")]
Bootstrap = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka (else KAFKA_BOOTSTRAP_SERVERS)")]
Dsn = Annotated[str | None, typer.Option(metavar="URL", help="PostgreSQL (else OPERATOR_DSN, POSTGRES_DSN)")]
Reason = Annotated[str | None, typer.Option(help="why, for whoever asks later")]
Execute = Annotated[bool, typer.Option("--execute", help="do it; without this it is only shown")]
Who = Annotated[str | None, typer.Option(help="who does it (else this machine's user)")]


def reason_of(text: str | None) -> str:
    """Return a reason that says something. Raises CommandFailedError."""
    if text is None or not text.strip():
        raise CommandFailedError("why? Give a --reason: it is kept with what is done")
    return text.strip()
