"""The exports that a session has asked for, and how far each has come: for the list on the start page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.gateway import store
from services.gateway.pages import code

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from services.gateway.gate import Gate
    from services.gateway.model import AskedExport, Session
    from services.gateway.upstream import Export, ExportOwner

LOOK_SECONDS_MAX = 2.0  # chosen: without it the list is shown without states
UNDER_WAY = frozenset({"preparing", "waiting", "writing"})


@dataclass(frozen=True, slots=True)
class ShownExport:
    """A row of the list; `state` is None where it cannot be said now, `left` how long a file or a code is good."""

    asked: AskedExport
    state: str | None
    left: timedelta | None = None


async def shown_exports(gate: Gate, session: Session, owner: ExportOwner) -> list[ShownExport]:
    """Return the latest exports of this session, newest first, each with its state."""
    asked = await store.exports_of(gate.pool, owner.session)
    return list(await asyncio.gather(*(_shown(gate, session, owner, one) for one in asked)))


async def _shown(gate: Gate, session: Session, owner: ExportOwner, asked: AskedExport) -> ShownExport:
    try:
        async with asyncio.timeout(LOOK_SECONDS_MAX):
            export = await gate.exports.export(asked.export_id, owner)
            if export is None:
                return ShownExport(asked, None)
            if export.state == "waiting":
                return await _waiting(gate, session, asked)
    except OSError:  # neither service's absence keeps anybody from the start page; a time-out is an OSError too
        return ShownExport(asked, None)
    return ShownExport(asked, *_ended(export, session.now))


async def _waiting(gate: Gate, session: Session, asked: AskedExport) -> ShownExport:
    found = await gate.decisions.wait(asked.export_id, 0)
    if found.state == "challenged" and found.challenge is not None:
        return ShownExport(asked, "waiting", code.box_of(found.challenge, session.now).ends_in)
    if found.state == "denied":
        return ShownExport(asked, code.SAID.get(found.reason or "", "over"))
    return ShownExport(asked, "writing" if found.state == "granted" else "preparing")


def _ended(export: Export, now: datetime) -> tuple[str, timedelta | None]:
    if export.state == "ready" and export.expires_at is not None:
        return "ready", max(export.expires_at - now, code.NOTHING)
    if export.state == "denied":
        return code.SAID.get(export.reason or "", "over"), None
    return ("failed" if export.reason == "file.unwritten" else "gone"), None
