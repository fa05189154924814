"""Types of events as people name them: `access.denied` for `countersign.access.denied.v1`."""

from __future__ import annotations

from countersign.cli.surroundings import CommandFailedError
from countersign.contract.topics import TYPES_OF


def type_named(topic: str, name: str) -> str:
    """Return the whole name of a type of the topic. Raises CommandFailedError."""
    for full in TYPES_OF[topic]:
        if name in {full, full.removeprefix("countersign.").rpartition(".")[0]}:
            return full
    raise CommandFailedError(f"{topic} has no type {name}: there are {', '.join(sorted(TYPES_OF[topic]))}")
