"""A batch whose transaction takes too long is folded in parts, down to single records, in virtual time."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from countersign.runtime.database.postgres import STATEMENT_SECONDS_MAX
from countersign.runtime.folding.sizes import Sizes, took_too_long
from tests.support.scripted_worker import Scripted, at
from tests.support.virtual_time import run_virtually


def test_a_batch_that_takes_too_long_is_halved_until_it_fits() -> None:
    """And the next ones begin with what fitted; the watchdog sees that work goes on."""

    async def story() -> None:
        scripted = Scripted()
        scripted.fold.slow_from = 8
        scripted.log.append(0, *[b""] * 300)
        async with scripted.running():
            await asyncio.sleep(3600)
            assert sorted(scripted.db.tables.folded) == [(0, offset) for offset in range(300)]
            assert scripted.db.tables.letters == {}
            assert "postgres.folds" not in scripted.health.reasons
        assert scripted.log.committed == {at(0): 300}
        assert scripted.fold.batches[0] == 100
        assert len([size for size in scripted.fold.batches if size >= 8]) < 12  # 100, 50, 25, 12, and a try after ten

    run_virtually(story())


def test_a_record_that_alone_takes_too_long_is_a_dead_letter() -> None:
    """After three tries, each with a server that answers; the others are folded."""

    async def story() -> None:
        scripted = Scripted()
        scripted.log.append(0, *[b""] * 50, b"slow", *[b""] * 50)
        async with scripted.running():
            await asyncio.sleep(3600)
            assert len(scripted.db.tables.folded) == 100
            assert scripted.db.tables.letters == {(0, 50): "bug"}
        assert scripted.log.committed == {at(0): 101}

    run_virtually(story())


def test_a_server_that_hangs_makes_no_dead_letters() -> None:
    """Whatever it is asked takes too long: that is not the record's fault, however often."""

    async def story() -> None:
        scripted = Scripted()

        async def hang(_sql: str) -> None:
            await asyncio.sleep(STATEMENT_SECONDS_MAX)
            raise TimeoutError

        scripted.log.append(0, b"slow")
        async with scripted.running():
            scripted.db.before = hang
            await asyncio.sleep(1200)
            assert scripted.db.tables.letters == {}
            assert scripted.worker.waiting_for_server

            async def answer(_sql: str) -> None:
                pass

            scripted.db.before = answer
            await asyncio.sleep(600)
            assert scripted.db.tables.letters == {(0, 0): "bug"}

    run_virtually(story())


@pytest.mark.parametrize(
    ("error", "seconds", "wanted"),
    [
        (TimeoutError(), STATEMENT_SECONDS_MAX, True),
        (TimeoutError(), 5, False),  # something else that a fold waited for
        (asyncpg.QueryCanceledError("x"), STATEMENT_SECONDS_MAX, True),
        (asyncpg.QueryCanceledError("x"), 1, False),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), 8, True),
        (asyncpg.LockNotAvailableError("x"), STATEMENT_SECONDS_MAX, False),
        (ConnectionResetError(), STATEMENT_SECONDS_MAX, False),
    ],
)
def test_what_is_too_long(error: Exception, seconds: float, *, wanted: bool) -> None:
    """A lock that another holds, and a server that went away, are waited for."""
    assert took_too_long(error, seconds) is wanted


def test_a_bound_is_forgotten_when_transactions_are_quick_again() -> None:
    """Twice as many after ten in a row."""
    sizes = Sizes()
    assert sizes.most("t") == 2000
    sizes.took_too_long("t", 500)
    assert sizes.most("t") == 250
    sizes.went_well("t", 250, 20)
    sizes.went_well("t", 10, 0.1)
    assert sizes.most("t") == 250
    for _ in range(30):
        sizes.went_well("t", sizes.most("t"), 0.1)
    assert sizes.most("t") == 2000
