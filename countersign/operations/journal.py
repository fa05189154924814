"""Who did what to a service's records, and why: a row before, its outcome in the same transaction as the deed."""

from __future__ import annotations

import getpass
import json
import socket
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    import asyncpg

BEGIN = """
INSERT INTO {schema}.operation (operation_id, command, who, reason, planned) VALUES ($1, $2, $3, $4, $5::jsonb)
"""
END = "UPDATE {schema}.operation SET ended_at = now(), outcome = $2::jsonb WHERE operation_id = $1"


def who() -> str:
    """Return the user of this machine, as others know the person: `ann@bastion-1`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def begin(
    db: asyncpg.Connection, schema: str, command: str, by: str, reason: str, planned: Mapping[str, Any]
) -> UUID:
    """Keep that somebody is about to do something; commit it before the deed."""
    operation_id = uuid4()
    await db.execute(BEGIN.format(schema=schema), operation_id, command, by, reason, json.dumps(planned))
    return operation_id


async def end(db: asyncpg.Connection, schema: str, operation_id: UUID, outcome: Mapping[str, Any]) -> None:
    """Keep what it came to, in the transaction of the deed."""
    await db.execute(END.format(schema=schema), operation_id, json.dumps(outcome))
