"""Whatever goes wrong with one record on its way ends in a dead letter or a brake, and never ends the process."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.runtime.consuming.fetching import record_of, records_of
from countersign.runtime.folding import dead_letter
from tests.support.scripted_worker import Scripted, a_message, at
from tests.support.virtual_time import run_virtually

GOOD = [(0, offset) for offset in (0, 2)]


@pytest.mark.parametrize("step", ["parse", "keys", "saves_at_once", "load", "decide", "save"])
def test_a_bug_in_any_step_of_a_record_is_a_dead_letter(step: str) -> None:
    """After three tries; the records beside it are folded, and offsets go on."""

    async def story() -> None:
        scripted = Scripted()
        scripted.log.append(0, b"", step.encode(), b"")
        async with scripted.running():
            await asyncio.sleep(5)
            assert sorted(scripted.db.tables.folded) == GOOD
            assert scripted.db.tables.letters == {(0, 1): "bug"}
        assert scripted.log.committed == {at(0): 3}

    run_virtually(story())


@pytest.mark.parametrize("step", ["parse", "keys"])
def test_bugs_before_the_fold_brake_as_those_in_it_do(step: str) -> None:
    """Of several accounts: somebody has to look."""

    async def story() -> None:
        scripted = Scripted()
        scripted.log.append(0, *[step.encode()] * 60)
        async with scripted.running():
            await asyncio.sleep(5)
            assert set(scripted.worker.braked) == {at(0)}
            held_at = scripted.log.committed[at(0)]
            assert 20 < held_at == len(scripted.db.tables.letters) < 60
            scripted.fold.mended.add(step)
            scripted.db.tables.braked.clear()
            await asyncio.sleep(5)
            assert len(scripted.db.tables.folded) == 60 - held_at

    run_virtually(story())


@pytest.mark.parametrize("timestamp", [2**62, -1, -(2**62), 253402300800000])
def test_a_timestamp_that_is_no_time_is_a_dead_letter(timestamp: int) -> None:
    """Where a topic has CreateTime, a producer may write anything; that is no bug of ours, and brakes nothing."""

    async def story() -> None:
        scripted = Scripted()
        scripted.log.append(0, b"")
        scripted.log.append(0, *[b""] * 60, timestamp=timestamp)
        scripted.log.append(0, b"")
        async with scripted.running():
            await asyncio.sleep(5)
            assert scripted.db.tables.folded == [(0, 0), (0, 61)]
            assert set(scripted.db.tables.letters.values()) == {"off_contract"}
            assert len(scripted.db.tables.letters) == 60
            assert not scripted.worker.braked
        assert scripted.log.committed == {at(0): 62}

    run_virtually(story())


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_timestamp_can_be_read(timestamp: int) -> None:
    """As a time that PostgreSQL takes."""
    message = a_message(0, 0, timestamp=timestamp)
    assert datetime(1970, 1, 1, tzinfo=UTC) <= record_of(message).appended_at
    records, letters = records_of([message])
    assert [letter.record for letter in letters] in ([], records)


def test_a_letter_that_cannot_be_stored_is_kept_without_its_content() -> None:
    """Else the record that nobody can read would be read for ever."""

    async def story() -> None:
        scripted = Scripted()
        failing = 2  # with its batch, and alone

        async def refuse(sql: str) -> None:
            nonlocal failing
            if sql == dead_letter.KEEP and failing:
                failing -= 1
                raise ValueError(sql)

        scripted.db.before = refuse
        scripted.log.append(0, b"", b"off", b"")
        async with scripted.running():
            await asyncio.sleep(5)
            assert sorted(scripted.db.tables.folded) == GOOD
            assert scripted.db.tables.letters == {(0, 1): "off_contract"}

    run_virtually(story())
