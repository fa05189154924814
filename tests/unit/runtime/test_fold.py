"""A batch is split so that each round holds each state key once."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from countersign.runtime.folding.fold import rounds
from countersign.runtime.messages.record import Incoming, Record, headers_from_text, headers_to_text
from tests.support.toy import Added, Adding

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _incoming(number: int, account: int, offset: int) -> Incoming[Added]:
    event = Added(id=UUID(int=number), account=str(account))
    return Incoming(event, Record("t", 0, offset, b"", b"", (), NOON), "1", NOON)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40))
def test_rounds_hold_each_key_once_and_keep_the_order_of_each_key(pairs: list[tuple[int, int]]) -> None:
    """Nothing is lost, no round repeats a key, and of one key the earlier record is in the earlier round."""
    batch = [_incoming(number, account, offset) for offset, (number, account) in enumerate(pairs)]
    fold = Adding("t", "o")
    parts = rounds(fold, batch)
    assert sorted(i.record.offset for part in parts for i in part) == list(range(len(batch)))
    seen: dict[object, int] = {}
    for part in parts:
        keys = [key for incoming in part for key in fold.keys(incoming)]
        assert len(keys) == len(set(keys))
        for incoming in part:
            for key in fold.keys(incoming):
                assert seen.get(key, -1) < incoming.record.offset
                seen[key] = incoming.record.offset


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50))))
def test_headers_of_any_bytes_survive_a_text_column(pairs: list[tuple[str, bytes]]) -> None:
    """One code point a byte, and no character that PostgreSQL refuses."""
    text = headers_to_text(tuple(pairs))
    assert headers_from_text(text) == tuple(pairs)
    assert "\x00" not in text
