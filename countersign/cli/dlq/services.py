"""Names of services, as people type them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.cli.surroundings import CommandFailedError
from countersign.operations.letters import SERVICES, Letters

if TYPE_CHECKING:
    import asyncpg


def require_service(service: str) -> None:
    """Raise CommandFailedError for a name that is no service of ours."""
    if service not in SERVICES:
        raise CommandFailedError(f"no such service: {service}; there are {', '.join(SERVICES)}")


def letters_of(db: asyncpg.Connection, service: str | None) -> Letters:
    """Return the letters of one service, or of all."""
    if service is not None:
        require_service(service)
    return Letters(db, SERVICES if service is None else [service])
