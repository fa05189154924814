"""How many dead letters are kept with their content: of a flood only the first ones of an hour and kind."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.folding.dead_letter import DeadLetter

# Chosen: somebody who mends a bug can redrive that many, and a producer's mistake shows in the first. At 64 KiB of
# value and as much of headers a topic's flood keeps 0.7 GB an hour instead of 118. Each kind is counted apart, so that
# a flood of refused records takes no room from those that wait for a key or for the mend of a bug.
WHOLE_OF_SOURCE_MAX = 1_000
WHOLE_OF_TOPIC_MAX = 5_000
# Chosen: five minutes of 66 grants a second. What waits for a key is folded once the key is there, so its content is
# never given up: with more than that the partition is held until somebody has looked.
WAITING_MAX = 20_000
SOURCE_LENGTH_MAX = 100

# Counted up to the bound, which the index makes cheap. Two writers at once may each keep a batch more.
COUNTED = """
SELECT k.topic, k.kind, k.source,
       (SELECT count(*) FROM (SELECT FROM dead_letter l
         WHERE l.whole AND l.topic = k.topic AND l.kind = k.kind AND l.source = k.source
           AND l.kept_at >= date_trunc('hour', now())
         LIMIT k.of_source_max) AS s) AS of_source,
       (SELECT count(*) FROM (SELECT FROM dead_letter l
         WHERE l.whole AND l.topic = k.topic AND l.kind = k.kind AND l.kept_at >= date_trunc('hour', now())
         LIMIT k.of_topic_max) AS t) AS of_topic
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[])
    AS k (topic, kind, source, of_source_max, of_topic_max)
"""


class NoRoomError(Exception):
    """More records wait for a key than are kept in an hour: their partition has to wait."""


def source_of(letter: DeadLetter) -> str:
    """Return who wrote the record, as it says itself; empty if it does not."""
    source = letter.record.header("ce_source") or b""
    return "".join(each for each in source.decode("latin-1")[:SOURCE_LENGTH_MAX] if each.isprintable())


async def whole_of(db: Connection, letters: Sequence[DeadLetter]) -> list[bool]:
    """Return for each letter whether it has content, and there is room in this hour to keep it.

    Raises NoRoomError if there is no room for one that waits for a key.
    """
    names = [(letter.record.topic, letter.kind, source_of(letter)) for letter in letters]
    topics, kinds, sources = (list(column) for column in zip(*sorted(set(names)), strict=True))
    of_source_max, of_topic_max = zip(*(_room(kind) for kind in kinds), strict=True)
    of_source: Counter[tuple[str, str, str]] = Counter()
    of_topic: Counter[tuple[str, str]] = Counter()
    for row in await db.fetch(COUNTED, topics, kinds, sources, of_source_max, of_topic_max):
        of_source[row["topic"], row["kind"], row["source"]] = row["of_source"]
        of_topic[row["topic"], row["kind"]] = row["of_topic"]
    found = []
    for letter, name in zip(letters, names, strict=True):
        most_of_source, most_of_topic = _room(letter.kind)
        has_room = of_source[name] < most_of_source and of_topic[name[:2]] < most_of_topic
        if letter.kind == "key_unknown" and letter.has_content and not has_room:
            raise NoRoomError(f"{most_of_topic} records of this hour wait for a key, and no more are kept")
        is_whole = has_room and letter.has_content
        of_source[name] += is_whole
        of_topic[name[:2]] += is_whole
        found.append(is_whole)
    return found


def _room(kind: str) -> tuple[int, int]:
    """Return how many letters of a kind are kept whole in an hour, of one source and of one topic."""
    return (WAITING_MAX, WAITING_MAX) if kind == "key_unknown" else (WHOLE_OF_SOURCE_MAX, WHOLE_OF_TOPIC_MAX)
