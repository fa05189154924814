"""The audit chain of an account's settings: each head covers its change and the head before, so none can be altered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from countersign.contract import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from services.enrolment.model import Change

FIRST_HEAD = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    """A change with its version, its time (the database's) and the head after it."""

    change: Change
    version: int
    at: datetime
    head: bytes


def chained(head: bytes, version: int, changes: Iterable[Change], at: datetime) -> list[Link]:
    """Return the changes of one account as the next links after `version` and `head`."""
    links: list[Link] = []
    for change in changes:
        version += 1
        head = _next(head, change, version, at)
        links.append(Link(change, version, at, head))
    return links


def broken_at(links: Iterable[Link]) -> int | None:
    """Return the first version whose row is missing or is not what its head covers; None: all are intact."""
    head = FIRST_HEAD
    for version, link in enumerate(links, start=1):
        head = _next(head, link.change, version, link.at)
        if link.version != version or link.head != head:
            return version
    return None


def _next(head: bytes, change: Change, version: int, at: datetime) -> bytes:
    covered = {
        "account_id": str(change.account_id),
        "version": version,
        "kind": change.kind,
        "user_id": _text(change.user_id),
        "actor_kind": change.actor.kind,
        "actor_id": change.actor.id,
        "reason": change.reason,
        "ticket": change.ticket,
        "number_id": _text(change.number_id),
        "old_number_id": _text(change.old_number_id),
        "place": change.place,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    if change.ip is not None:  # changes from before addresses were kept have none, and their heads stay as they are
        covered["ip"] = change.ip
    return hashlib.sha256(head + canonical(covered)).digest()


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
