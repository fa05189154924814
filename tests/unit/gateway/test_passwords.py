"""Argon2id in threads, with a bounded queue."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from services.gateway.passwords import Passwords, PasswordsBusyError
from services.gateway.settings import PasswordSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Make a checker with one thread and room for one more."""
    checker = Passwords(PasswordSettings(threads=1, waiting_max=1))
    yield checker
    checker.close()


async def test_right_wrong_and_nobody(passwords: Passwords) -> None:
    """What nobody's password is, nobody has."""
    kept = passwords.hash("correct horse")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.right(kept, "correct horse")
    assert not await passwords.right(kept, "Correct horse")
    assert not await passwords.right(None, "nobody has this password")
    assert not await passwords.right("$argon2id$broken", "x")


async def test_a_full_queue_says_so(passwords: Passwords) -> None:
    """One at work, one waiting, the third is told to come back; then there is room again."""
    kept = passwords.hash("x")

    async def check() -> bool:
        with passwords.room(known=True):
            return await passwords.right(kept, "x")

    results = await asyncio.gather(*(check() for _ in range(3)), return_exceptions=True)
    assert [isinstance(result, PasswordsBusyError) for result in results] == [False, False, True]
    assert await check()


@pytest.mark.parametrize(("threads", "waiting_max", "strangers"), [(1, 1, 1), (2, 32, 18), (1, 3, 2)])
def test_half_of_the_queue_is_for_known_places_and_browsers(threads: int, waiting_max: int, strangers: int) -> None:
    """However many strangers come, those who were here before find room; and the room is given back."""
    checker = Passwords(PasswordSettings(threads=threads, waiting_max=waiting_max))
    for _ in range(2):
        with ExitStack() as held:
            for _ in range(strangers):
                held.enter_context(checker.room(known=False))
            with pytest.raises(PasswordsBusyError), checker.room(known=False):
                pass
            for _ in range(threads + waiting_max - strangers):
                held.enter_context(checker.room(known=True))
            with pytest.raises(PasswordsBusyError), checker.room(known=True):
                pass
    checker.close()
