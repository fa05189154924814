"""The options that the commands about keys share."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.operations.durations import parse_duration
from countersign.operations.keys.files import KeyFiles, KeyFilesError
from countersign.operations.keys.instances import Instance
from countersign.operations.keys.rings import RINGS, KeysDifferError, Ring
from countersign.operations.secret_files import RINGS as HOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class RingName(StrEnum):
    """The rings."""

    codes = "codes"
    grants = "grants"
    numbers = "numbers"
    assessments = "assessments"


OneRing = Annotated[RingName, typer.Argument(metavar="RING", help="codes, grants, numbers or assessments")]
Folder = Annotated[
    Path | None, typer.Option("--secrets", metavar="DIRECTORY", help="the secrets files (else SECRETS_DIR)")
]
Instances = Annotated[
    list[str] | None,
    typer.Option(
        "--instance",
        metavar="SERVICE=URL",
        help="the health port of each running instance, given once for each (else HEALTH_VERIFIER_URL and its like)",
    ),
]


def files_of(folder: Path | None, ring: Ring) -> KeyFiles:
    """Return the files of a ring. Raises CommandFailedError."""
    named = Surroundings.found().need("SECRETS_DIR", None if folder is None else str(folder), "--secrets")
    return KeyFiles(Path(named), ring)


def instances_of(written: Sequence[str] | None, ring: Ring) -> list[Instance]:
    """Return the instances to ask about a ring: those given, else the environment's. Raises CommandFailedError."""
    found = [_instance(text) for text in written or ()]
    if not written:
        around = Surroundings.found()
        named = ((service, around.get(f"HEALTH_{service.upper()}_URL")) for service in ring.holders)
        found = [Instance(service, url) for service, url in named if url is not None]
    return [instance for instance in found if instance.service in ring.holders]


def duration(text: str, option: str) -> timedelta:
    """Return how long. Raises CommandFailedError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandFailedError(f"{option} {error}") from None


@contextmanager
def naming_files() -> Iterator[None]:
    """Raise CommandFailedError, in words, for files that cannot be worked on."""
    try:
        yield
    except (KeyFilesError, KeysDifferError) as error:
        raise CommandFailedError(str(error)) from None


def _instance(written: str) -> Instance:
    service, _, url = written.partition("=")
    if service not in HOLDERS or not url.startswith(("http://", "https://")):
        raise CommandFailedError(f"--instance {written}: expected SERVICE=URL, such as verifier=http://10.0.0.7:9090")
    return Instance(service, url)


def ring_of(name: RingName) -> Ring:
    """Return a ring by its name."""
    return RINGS[name.value]
