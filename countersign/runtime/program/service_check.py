"""`python -m services.<name> check`: settings, PostgreSQL, keys, and what else the service says that it needs."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from countersign.runtime.checkup import any_error, fine, in_time, without_logs_of_kafka, wrong
from countersign.runtime.database.budget import connections_finding
from countersign.runtime.database.migrations_seen import migration_findings
from countersign.runtime.database.pool import require_writable
from countersign.runtime.database.postgres_refusal import (
    POSTGRES_FAILURES,
    plain_session,
    session_finding,
    words_of_postgres,
)
from countersign.runtime.keys import KeySettings
from countersign.runtime.program.key_ages import key_findings
from countersign.runtime.program.unread_settings import unread_findings
from countersign.runtime.settings import ServiceSettings, secrets_file
from countersign.runtime.tracing.opening import collector_findings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from countersign.runtime.checkup import Finding
    from countersign.runtime.program.frame import Service

S = TypeVar("S", bound=ServiceSettings)
_SUBJECT = "PostgreSQL"
_SETTINGS = "settings"


async def checked(service: Service[S], settings: S, out: TextIO, *, as_json: bool) -> int:
    """Look at everything side by side and print a line for each finding; return 1 if one is an error, else 0.

    What is away is said, and the rest is looked at all the same. Nothing is changed anywhere.
    """
    looks = [in_time(_SUBJECT, lambda: _database(service, settings))]
    looks.append(in_time("traces", lambda: collector_findings(settings.traces)))
    looks += [in_time(check.subject, check.look) for check in service.checks(settings)]
    found = [fine(_SETTINGS, "they are right")]
    found += unread_findings(service.name, type(settings), os.environ, secrets_file())
    with without_logs_of_kafka():
        found += [finding for part in await asyncio.gather(*looks) for finding in part]
    out.writelines(_line(service.name, finding, as_json=as_json) for finding in found)
    out.flush()
    return 1 if any_error(found) else 0


def _line(service: str, finding: Finding, *, as_json: bool) -> str:
    return f"{json.dumps({'finding': asdict(finding)}) if as_json else f'{service}  {finding}'}\n"


async def _database(service: Service[S], settings: S) -> list[Finding]:
    """Log in as the service does; look at its migrations, at its session, and by its clock at the keys."""
    dsn = settings.postgres.dsn.get_secret_value()
    try:
        async with plain_session(dsn) as db:
            await require_writable(db)
            now = await db.fetchval("SELECT now()")
            role = await db.fetchval("SELECT current_user")
            found = [fine(_SUBJECT, f"lets us in as {role}, and takes writes")]
            found += await migration_findings(db, service.name)
            found.append(await connections_finding(db, service.budget))
        found.append(await session_finding(dsn))
    except POSTGRES_FAILURES as error:
        return [wrong(_SUBJECT, *words_of_postgres(error)), *_keys_not_judged(settings)]
    return found + _keys(settings, now)


def _rings(settings: ServiceSettings) -> dict[str, list[KeySettings]]:
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {name: value for name, value in values.items() if _is_ring(value)}


def _is_ring(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, KeySettings) for each in value)


def _keys(settings: ServiceSettings, now: datetime) -> list[Finding]:
    found = [key_findings("keys", ring, keys, now) for ring, keys in _rings(settings).items()]
    return [finding for part in found for finding in part]


def _keys_not_judged(settings: ServiceSettings) -> Sequence[Finding]:
    rings = ", ".join(sorted(_rings(settings)))
    return [fine("keys", f"{rings}: not judged, as the time comes from PostgreSQL")] if rings else []
