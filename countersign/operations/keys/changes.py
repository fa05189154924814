"""A rotation or a revocation carried out: each step leaves what a second run goes on from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countersign.clock import loop_seconds
from countersign.operations.keys.instances import look, not_asked
from countersign.operations.keys.plan import begin_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from countersign.operations.keys.files import KeyFiles
    from countersign.operations.keys.instances import Instance
    from countersign.operations.keys.plan import Revocation, Rotation

_LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What a rotation came to. `begins` None: the key waits, for what `unknown_to` says."""

    key_id: str
    begins: datetime | None
    unknown_to: tuple[str, ...]


async def rotate(
    files: KeyFiles,
    plan: Rotation,
    key: Mapping[str, Any],
    instances: Sequence[Instance],
    *,
    now: Callable[[], Awaitable[datetime]],
    active_in: timedelta,
    within: timedelta,
) -> Rotated:
    """Install a key, wait until every instance knows it, and only then set when it becomes active.

    `key` is the plan's, or newly drawn. Run again after any interruption this goes on with the same key. Raises
    KeyFilesError.
    """
    key_id = str(key["key_id"])
    files.install(key, plan.missing)
    unknown = [f"{service}: no instance was named" for service in not_asked(files.ring, instances)]
    unknown += await _unknown_to(files, instances, key_id, None, within)
    if plan.begins is None and unknown:
        return Rotated(key_id=key_id, begins=None, unknown_to=tuple(unknown))
    begins = plan.begins or begin_at(await now(), active_in)
    files.activate(key_id, files.ring.holders if plan.begins is None else plan.unequal, begins)
    unknown = unknown or await _unknown_to(files, instances, key_id, begins, within)
    return Rotated(key_id=key_id, begins=begins, unknown_to=tuple(unknown))


def revoke(files: KeyFiles, plan: Revocation, now: datetime) -> None:
    """Carry a revocation out. Raises KeyFilesError."""
    if plan.action == "retire":
        files.retire(plan.key_id, plan.services, now)
    else:
        files.remove(plan.key_id, plan.services)


async def _unknown_to(
    files: KeyFiles, instances: Sequence[Instance], key_id: str, begins: datetime | None, within: timedelta
) -> list[str]:
    """Return which instances do not know a key, and its time if given; empty as soon as all do."""
    holders = set(files.ring.holders)
    asked = [instance for instance in instances if instance.service in holders]
    until = loop_seconds() + within.total_seconds()
    while True:
        seen = await look(asked, files.ring)
        unknown = [why for each in seen if (why := each.why_not(key_id, begins)) is not None]
        if not unknown or loop_seconds() >= until:
            return unknown
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
