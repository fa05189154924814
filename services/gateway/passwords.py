"""Passwords: argon2id in a few threads, with a bounded queue before them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.gateway.settings import PasswordSettings


class PasswordsBusyError(Exception):
    """As many checks wait as may wait; the caller answers 503."""


class Passwords:
    """Checks passwords off the event loop. Close it when the service ends."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.passes, memory_cost=settings.memory_kib, parallelism=1, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(settings.threads, "argon2")
        self._room = settings.threads + settings.waiting_max
        # Half of those who wait may be strangers: whoever floods the log-in from new places does not shut it for
        # known places and known browsers.
        self._room_for_strangers = settings.threads + settings.waiting_max // 2
        # Somebody who does not exist has this one, made with the same cost as everybody's.
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """Return the encoded argon2id hash; for seeding, as it blocks."""
        return self._hasher.hash(password)

    async def hash_later(self, password: str) -> str:
        """Return the hash as `hash` does, made in the threads; the caller holds the room for it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.hash, password)

    @contextmanager
    def room(self, *, known: bool) -> Iterator[None]:
        """Hold the room for one check; `known`: a place or browser that has been here. Raises PasswordsBusyError."""
        strangers = 0 if known else 1
        if self._room == 0 or self._room_for_strangers < strangers:
            raise PasswordsBusyError
        self._room -= 1
        self._room_for_strangers -= strangers
        try:
            yield
        finally:
            self._room += 1
            self._room_for_strangers += strangers

    async def right(self, kept: str | None, password: str) -> bool:
        """Return True if the password is the kept one; for None the same work is done, and the answer is no.

        The caller holds the room for it.
        """
        loop = asyncio.get_running_loop()
        matched = await loop.run_in_executor(self._threads, self._verify, kept or self._nobody, password)
        return matched and kept is not None

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
