"""Every fault that can be put back, by the number under which it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault. `plant` puts it back into this process; `finding` is how the finding about it begins."""

    words: str
    plant: Callable[[], None]
    finding: str


PLANTED: dict[str, Planted] = {}
