"""`keys list`: which keys there are, how far each is, and which instances know them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countersign.cli.database import ask
from countersign.cli.keys.options import Folder, Instances, RingName, files_of, instances_of, naming_files
from countersign.cli.options import AsJson, Dsn
from countersign.operations.keys.instances import look
from countersign.operations.keys.plan import state_of
from countersign.operations.keys.rings import RINGS
from countersign.operations.keys.uses import now_of, uses_of
from countersign.runtime.keys import WAITS

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from countersign.operations.keys.instances import Seen
    from countersign.operations.keys.rings import Ring

app = typer.Typer()
_AMISS = frozenset({"half installed"})


@app.command(name="list", epilog="\b\ntry:\n  countersign keys list\n  countersign keys list --ring codes --json")
def list_keys(
    *,
    ring: Annotated[RingName | None, typer.Option(metavar="RING", help="only this ring")] = None,
    secrets: Folder = None,
    instance: Instances = None,
    as_json: AsJson = False,
    dsn: Dsn = None,
) -> int:
    """List every key with its state, the files that hold it, the instances that do not know it, and what needs it.

    Exit codes: 0 all is as it should be, 1 a key is only half installed or an instance does not know one, 2 the files
    or PostgreSQL cannot be read.
    """
    rings = [RINGS[name] for name in RINGS if ring is None or name == ring.value]
    found: list[dict[str, Any]] = []

    async def look_at(db: asyncpg.Connection) -> None:
        for each in rings:
            found.extend(await _keys(db, each, secrets, instance))

    with naming_files():
        for each in rings:  # a folder that is not right is told before anybody is asked
            files_of(secrets, each).holdings()
        ask(dsn, look_at)
    for one in found:
        sys.stdout.write((json.dumps(one) if as_json else "\n".join(_lines(one))) + "\n")
    return 1 if any(one["state"] in _AMISS or one["unknown_to"] for one in found) else 0


async def _keys(
    db: asyncpg.Connection, ring: Ring, folder: Path | None, written: list[str] | None
) -> list[dict[str, Any]]:
    holdings = files_of(folder, ring).holdings()
    now = await now_of(db)
    seen: list[Seen] = await look(instances_of(written, ring), ring)
    found = []
    for key_id in holdings.key_ids():
        begins = holdings.begins(key_id)
        retired_at = holdings.retired_at(key_id)
        state = state_of(holdings, key_id, now)
        uses = [] if state == "current" else await uses_of(db, holdings, key_id, now)
        found.append(
            {
                "ring": ring.name,
                "key_id": key_id,
                "state": state,
                "active_from": None if begins == WAITS else begins.isoformat(),
                "retired_at": None if retired_at is None else retired_at.isoformat(),
                "files": list(holdings.entries(key_id)),
                "missing": list(holdings.missing(key_id)),
                "known_to": [str(each.instance) for each in seen if each.why_not(key_id) is None],
                "unknown_to": [why for each in seen if (why := each.why_not(key_id)) is not None],
                "uses": [str(use) for use in uses],
            }
        )
    return found


def _lines(one: dict[str, Any]) -> list[str]:
    since = f" from {one['active_from']}" if one["active_from"] else ""
    lines = [f"{one['ring']}  {one['key_id']}  {one['state']}{since}; in the files of {', '.join(one['files'])}"]
    lines += [f"  not in the file of {service}" for service in one["missing"]]
    lines += [f"  known to {instance}" for instance in one["known_to"]]
    lines += [f"  {why}" for why in one["unknown_to"]]
    return lines + [f"  still needed: {use}" for use in one["uses"]]
