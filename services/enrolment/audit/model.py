"""What an audit compares, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from services.enrolment.chain import Link

# removed: a row is missing. changed: it holds something else than was told. swapped: it holds what another version was
# told to be. forged: nothing on the topic tells of it, or its head was computed anew.
Verdict = Literal["removed", "changed", "swapped", "forged"]


@dataclass(frozen=True, slots=True)
class Told:
    """A change as its event tells it. `fields` by name, as text or None; `head` is the chain's head after it."""

    fields: Mapping[str, str | None]
    head: bytes


@dataclass(frozen=True, slots=True)
class Account:
    """An account's rows by version, its own row, and the versions whose events still wait to be published."""

    account_id: UUID
    version: int
    head: bytes
    links: Sequence[Link]
    waiting: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Topic:
    """What the topic holds of one account, by version. Of changes since `since` it must hold every one."""

    since: datetime
    told: Mapping[int, Sequence[Told]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong. `version` 0: with the account as a whole."""

    version: int
    verdict: Verdict
    words: str
