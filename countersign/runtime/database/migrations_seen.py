"""Migrations that were applied to a service's schema, against those that this program brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from countersign.runtime.checkup import Finding, fine, warning, wrong
from countersign.runtime.database.postgres import migration_digests

if TYPE_CHECKING:
    from collections.abc import Mapping

APPLIED = "SELECT name, sha256 FROM {schema}.migration"
ROLES_FILE = "deploy/postgres/roles.sql"


async def migration_findings(db: Any, service: str) -> list[Finding]:
    """Return what is missing of a service's schema, or ahead of this program. Raises POSTGRES_FAILURES."""
    migrate = f"run `python -m services.{service} migrate`"
    subject = subject_of(service)
    try:
        rows = await db.fetch(APPLIED.format(schema=service))
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedTableError):
        return [
            wrong(subject, "nothing was ever applied", f"run {ROLES_FILE} if the schema is missing, then {migrate}")
        ]
    except asyncpg.InsufficientPrivilegeError:
        who = await db.fetchval("SELECT current_user")
        return [
            warning(subject, f"{who} may not read which were applied", f"{migrate}: it gives the operator that right")
        ]
    return [compared(service, {row["name"]: row["sha256"] for row in rows}, migration_digests(service))]


def compared(service: str, applied: Mapping[str, str], brought: Mapping[str, str]) -> Finding:
    """Return the worst that can be said of what was applied, by name and SHA-256."""
    subject = subject_of(service)
    if missing := [name for name in brought if name not in applied]:
        told = f"{len(missing)} not applied: {', '.join(missing)}"
        return wrong(subject, told, f"run `python -m services.{service} migrate` before its processes start")
    if changed := [name for name, digest in brought.items() if applied[name] != digest]:
        told = f"changed after they were applied: {', '.join(changed)}"
        return wrong(subject, told, "put the files back as they were released; a change is a new migration")
    if ahead := sorted(set(applied) - set(brought)):
        told = f"the schema is ahead of this program: {', '.join(ahead)}"
        return warning(subject, told, "use the release that was installed last; an older one may still run beside it")
    return fine(subject, f"all {len(brought)} are applied")


def subject_of(service: str) -> str:
    """Return what findings about a service's schema are about."""
    return f"migrations of {service}"
