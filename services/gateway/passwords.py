"""Passwords: argon2id in a few threads, with a bounded queue before them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

if TYPE_CHECKING:
    from services.gateway.settings import PasswordSettings


class Busy(Exception):  # noqa: N818 - a state, not a failure
    """As many checks wait as may wait; the caller answers 503."""


class Passwords:
    """Checks passwords off the event loop. Close it when the service ends."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.passes, memory_cost=settings.memory_kib, parallelism=1, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(settings.threads, "argon2")
        self._room = settings.threads + settings.waiting_max
        # Somebody who does not exist has this one, made with the same cost as everybody's.
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """Return the encoded argon2id hash; for seeding, as it blocks."""
        return self._hasher.hash(password)

    async def right(self, kept: str | None, password: str) -> bool:
        """Tell whether the password is the kept one; for None the same work is done, and the answer is no.

        Raises Busy.
        """
        if self._room == 0:
            raise Busy
        self._room -= 1
        try:
            loop = asyncio.get_running_loop()
            matched = await loop.run_in_executor(self._threads, self._verify, kept or self._nobody, password)
        finally:
            self._room += 1
        return matched and kept is not None

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
