"""The rings by the names that people use, who holds them, and when a key of one is used: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from countersign.operations import secret_files
from countersign.runtime.keys import WAITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class KeysDifferError(Exception):
    """Files that must agree do not; the text says which key, and what to do."""


@dataclass(frozen=True, slots=True)
class Ring:
    """`setting` is its name in the secrets files, `owner` the service in whose schema the operations are kept."""

    name: str
    setting: str
    owner: str

    @property
    def holders(self) -> tuple[str, ...]:
        """Return the services whose secrets files hold it."""
        return tuple(service for service, held in secret_files.RINGS.items() if self.setting in held)


RINGS: Mapping[str, Ring] = {
    ring.name: ring
    for ring in (
        Ring("codes", "code_keys", "verifier"),
        Ring("grants", "grant_keys", "verifier"),
        Ring("numbers", "number_keys", "enrolment"),
        Ring("assessments", "assessment_keys", "risk_evaluator"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key as one file has it. `digest` only tells whether two files mean the same key."""

    key_id: str
    active_from: datetime
    retired_at: datetime | None = None
    digest: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Holdings:
    """The entries of a ring, by service and key id, of every service that holds it. Raises KeysDifferError."""

    ring: Ring
    by_service: Mapping[str, Mapping[str, Entry]]

    def __post_init__(self) -> None:
        """Refuse two keys of one id: what one service seals another could not open."""
        for key_id in self.key_ids():
            if len({entry.digest for entry in self.entries(key_id).values()}) > 1:
                raise KeysDifferError(
                    f"{self.ring.name}: the key {key_id} is not the same in the files of "
                    f"{' and '.join(self.entries(key_id))}. Find out which one the running services have, and put that "
                    "into each file; nothing was changed"
                )

    def entries(self, key_id: str) -> dict[str, Entry]:
        """Return the entries of a key by service, of those that have it."""
        return {service: held[key_id] for service, held in self.by_service.items() if key_id in held}

    def missing(self, key_id: str) -> tuple[str, ...]:
        """Return the services whose file lacks a key."""
        return tuple(service for service, held in self.by_service.items() if key_id not in held)

    def key_ids(self) -> list[str]:
        """Return every id once, the key that began first in front."""
        begins = {key_id: entry.active_from for held in self.by_service.values() for key_id, entry in held.items()}
        return sorted(begins, key=lambda key_id: (self.begins(key_id), key_id))

    def begins(self, key_id: str) -> datetime:
        """Return the earliest time at which some service may use a key."""
        return min(held[key_id].active_from.astimezone(UTC) for held in self.by_service.values() if key_id in held)

    def retired_at(self, key_id: str) -> datetime | None:
        """Return when a key was retired, if every file says so: the latest of their times."""
        times = [entry.retired_at for entry in self.entries(key_id).values()]
        known = [time for time in times if time is not None]
        return max(known) if known and len(known) == len(times) else None

    def current(self, now: datetime) -> str | None:
        """Return the key that is used now: the youngest that has begun and is not retired."""
        begun = [key_id for key_id in self.key_ids() if self.begins(key_id) <= now and not self._is_over(key_id, now)]
        return begun[-1] if begun else None

    def used_until(self, key_id: str) -> datetime | None:
        """Return when a key stopped being used for new things, or will; None: not as things are."""
        later = [self.begins(other) for other in self.key_ids() if self.begins(other) > self.begins(key_id)]
        ends = [*(time for time in later if time < WAITS), self.retired_at(key_id)]
        return _earliest(ends)

    def _is_over(self, key_id: str, now: datetime) -> bool:
        retired_at = self.retired_at(key_id)
        return retired_at is not None and retired_at <= now


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    known = [time for time in times if time is not None]
    return min(known) if known else None
