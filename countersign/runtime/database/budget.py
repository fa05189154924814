"""How many connections to PostgreSQL a process may hold, and whether the server has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countersign.runtime.checkup import Finding, fine, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

POOL_MAX = 8  # chosen: for routes; a request holds one for some milliseconds
_FOLDING, _BRAKES, _PUBLISHING, _SMALL = 2, 1, 1, 1
_OF_A_LOOP = 2  # it takes and settles side by side
LIMIT = "postgres.connections_max"

# What the server keeps for its superusers is not for us. Rows of other roles show who they are and no more.
SERVER = """
SELECT current_setting('max_connections')::integer
       - current_setting('superuser_reserved_connections')::integer
       - coalesce(current_setting('reserved_connections', true), '0')::integer AS allowed,
       (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL AND usename <> current_user) AS others
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one process of a service may hold. `lanes` read its folds; `loops` is due work with its own connections."""

    pool: int = POOL_MAX
    loops: int = 0
    lanes: int = 1

    @property
    def links(self) -> int:
        """Connections beside the pool: folds, brakes, published rows, the small loops together, and each own loop."""
        return _FOLDING * self.lanes + _BRAKES + _PUBLISHING + _SMALL + _OF_A_LOOP * self.loops

    @property
    def connections(self) -> int:
        """All of them."""
        return self.pool + self.links

    def parts(self) -> Iterator[str]:
        """Yield in words what they are for."""
        yield f"{self.pool} routes"
        yield f"{_FOLDING * self.lanes} folds"
        yield f"{_BRAKES} brakes"
        yield f"{_PUBLISHING} published rows"
        yield f"{_SMALL} small due work"
        if self.loops:
            yield f"{_OF_A_LOOP * self.loops} other due work"


async def connections_finding(db: Any, budget: Budget) -> Finding:
    """Return whether the server has as many connections as one process needs. Raises POSTGRES_FAILURES."""
    row = await db.fetchrow(SERVER)
    subject = "PostgreSQL connections"
    told = (
        f"one process needs up to {budget.connections}; the server has {row['allowed']}, "
        f"of which others hold {row['others']}"
    )
    if row["others"] + budget.connections > row["allowed"]:
        return warning(subject, told, "raise max_connections, or run fewer processes (`make limits` shows the sum)")
    return fine(subject, told)
