"""What one transaction of due work stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from countersign.runtime.publishing.outbox import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.publishing.outbox import Kept

Stored = TypeVar("Stored")


@dataclass(frozen=True, slots=True)
class Settled(Generic[Stored]):
    """`due` is what it owes to Kafka. `done` is what it stored: `committed` is given that once the commit is done."""

    due: Kept = NOTHING
    done: Sequence[Stored] = ()
