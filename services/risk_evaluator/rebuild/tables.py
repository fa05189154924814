"""The fresh tables: laid, compared with the live ones, and swapped with them in the caller's transaction."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.risk_evaluator.decide import PLACE_WRITTEN_EVERY, SIGNED_BEFORE_MAX
from services.risk_evaluator.rebuild.model import Comparison, Side
from services.risk_evaluator.store_places import PlaceTables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from countersign.runtime.database.postgres import Connection

FRESH = PlaceTables("place_rebuilt", "forgotten_rebuilt", alone=True)
BEFORE = "place_before_rebuild"
STATEMENT_SECONDS_MAX = 600.0
HIDDEN = "•••"

# What was forgotten is kept while a grant from before it could teach. It is taken over, so no such place comes back.
LAY = """
DROP TABLE IF EXISTS place_rebuilt, forgotten_rebuilt;
CREATE TABLE place_rebuilt (LIKE place INCLUDING ALL);
CREATE TABLE forgotten_rebuilt (LIKE forgotten INCLUDING ALL);
INSERT INTO forgotten_rebuilt SELECT * FROM forgotten;
"""
GUARD = "CREATE TRIGGER only_unforgotten BEFORE INSERT ON place FOR EACH ROW EXECUTE FUNCTION refuse_forgotten_place()"
CLEAR = "DROP TABLE IF EXISTS place_rebuilt, forgotten_rebuilt"

# $1: the start of the topics, or the beginning of time. $2: how long an idle place counts (0: for ever); the sweep
# may not have come yet. A first use before the topics begin is not compared.
_COUNTED = "($2::interval = interval '0' OR last_used_at > now() - $2::interval)"
SUM = f"""
SELECT count(*) AS rows, coalesce(sum(hashtextextended(concat_ws(' ', account_id, place, taught_by,
       extract(epoch FROM greatest(first_used_at, $1::timestamptz))), 0)::numeric), 0) AS sum
  FROM {{table}} WHERE last_used_at >= $1 AND {_COUNTED}
"""  # noqa: S608 - names of our own tables
# $3: by how much the last uses of one place can differ, as they are written at most hourly.
VERDICTS = f"""
SELECT * FROM (
    SELECT account_id, place, taught_by, l.first_used_at AS live_first, l.last_used_at AS live_last,
           r.first_used_at AS rebuilt_first, r.last_used_at AS rebuilt_last,
           CASE WHEN l.account_id IS NULL THEN 'missing'
                WHEN r.account_id IS NULL AND l.last_used_at < $1 THEN 'older'
                WHEN r.account_id IS NULL THEN 'extra'
                WHEN greatest(l.first_used_at, $1) <> greatest(r.first_used_at, $1)
                  OR l.last_used_at NOT BETWEEN r.last_used_at - $3::interval AND r.last_used_at + $3::interval
                THEN 'different'
           END AS verdict
      FROM (SELECT * FROM place WHERE {_COUNTED}) l
      FULL JOIN (SELECT * FROM place_rebuilt WHERE {_COUNTED}) r USING (account_id, place, taught_by)) compared
 WHERE verdict IS NOT NULL
"""  # noqa: S608 - constants
COUNT = f"SELECT verdict, count(*) AS rows FROM ({VERDICTS}) v GROUP BY verdict"  # noqa: S608 - constants
EXAMPLES = f"SELECT * FROM ({VERDICTS}) v WHERE verdict = $4 ORDER BY account_id, place, taught_by LIMIT $5"  # noqa: S608

KEEP_OLDER = "INSERT INTO place_rebuilt SELECT * FROM place WHERE last_used_at < $1 ON CONFLICT DO NOTHING"
KEEP_FIRST_USES = """
UPDATE place_rebuilt r SET first_used_at = p.first_used_at
  FROM place p
 WHERE p.account_id = r.account_id AND p.place = r.place AND p.taught_by = r.taught_by
   AND p.first_used_at < $1 AND p.first_used_at < r.first_used_at
"""
FORGET_TOO = """
INSERT INTO forgotten AS f SELECT * FROM forgotten_rebuilt
    ON CONFLICT (account_id, user_id, place) DO UPDATE SET forgotten_at = excluded.forgotten_at
 WHERE excluded.forgotten_at > f.forgotten_at
"""
VIEW = "SELECT pg_get_viewdef('known_place'::regclass)"
INDEXES = """
SELECT i.relname AS name, regexp_replace(pg_get_indexdef(x.indexrelid), '^.* USING ', '') AS what, x.indisunique
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = $1::text::regclass
"""
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_MODULUS = 1 << 64


async def compare(db: Connection, since: datetime | None, idle: timedelta, examples: int) -> Comparison:
    """Return how the live rows differ from those made anew. Nobody may learn meanwhile."""
    start = since or _LONG_AGO
    apart = PLACE_WRITTEN_EVERY + SIGNED_BEFORE_MAX
    live, rebuilt = [await _side(db, table, start, idle) for table in ("place", FRESH.place)]
    found = Comparison(live, rebuilt)
    rows = await db.fetch(COUNT, start, idle, apart, timeout=STATEMENT_SECONDS_MAX)
    found.verdicts = Counter({row["verdict"]: row["rows"] for row in rows})
    for verdict in sorted(found.verdicts):
        rows = await db.fetch(EXAMPLES, start, idle, apart, verdict, examples, timeout=STATEMENT_SECONDS_MAX)
        found.examples += [_example(row) for row in rows]
    return found


async def swap(db: Connection, since: datetime | None, *, keep_older: bool) -> int:
    """Put the fresh table in the live one's place and keep the old one as `place_before_rebuild`; return its rows.

    The caller's transaction holds learners up; readers wait from here to its end. A first use before the topics begin
    is taken over from the live table.
    """
    if since is not None:
        if keep_older:
            await db.execute(KEEP_OLDER, since, timeout=STATEMENT_SECONDS_MAX)
        await db.execute(KEEP_FIRST_USES, since, timeout=STATEMENT_SECONDS_MAX)
    await db.execute(FORGET_TOO, timeout=STATEMENT_SECONDS_MAX)
    await db.execute(f"DROP TABLE IF EXISTS {BEFORE}")
    view = await db.fetchval(VIEW)
    old, new = [await _indexes(db, table) for table in ("place", FRESH.place)]
    await db.execute(f"ALTER TABLE place RENAME TO {BEFORE}; ALTER TABLE {FRESH.place} RENAME TO place")
    for what, name in old.items():
        await db.execute(
            f'ALTER INDEX "{name}" RENAME TO "{name}_before"; ALTER INDEX "{new[what]}" RENAME TO "{name}"'
        )
    await db.execute(GUARD)  # LIKE copies no trigger
    await db.execute(f"CREATE OR REPLACE VIEW known_place AS {view}")
    await db.execute(f"DROP TABLE {FRESH.forgotten}")
    rows: int = await db.fetchval("SELECT count(*) FROM place", timeout=STATEMENT_SECONDS_MAX)
    return rows


async def _side(db: Connection, table: str, start: datetime, idle: timedelta) -> Side:
    row: Any = await db.fetchrow(SUM.format(table=table), start, idle, timeout=STATEMENT_SECONDS_MAX)
    return Side(row["rows"], f"{int(row['sum']) % _MODULUS:016x}")


async def _indexes(db: Connection, table: str) -> Mapping[tuple[str, bool], str]:
    return {(row["what"], row["indisunique"]): row["name"] for row in await db.fetch(INDEXES, table)}


def _example(row: Any) -> Mapping[str, Any]:
    """Return what may be shown of a row: ids and times; of the place only how it was cut."""
    times = ("live_first", "live_last", "rebuilt_first", "rebuilt_last")
    return {
        "verdict": row["verdict"],
        "account_id": str(row["account_id"]),
        "taught_by": str(row["taught_by"]),
        "place": f"{HIDDEN}/{row['place'].rpartition('/')[2]}",
        **{name: None if row[name] is None else row[name].isoformat() for name in times},
    }
