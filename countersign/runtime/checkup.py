"""What a look at an installation found: one sentence each, with how bad it is and what to do."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

Level = Literal["ok", "warning", "error"]
ANSWER_SECONDS_MAX = 8.0  # chosen: one check, with the words for its failure; several run side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `sentence` and `todo` quote no secret; `todo` is None where nothing is to do."""

    level: Level
    subject: str
    sentence: str
    todo: str | None = None

    def __str__(self) -> str:
        """Return the line that a person reads."""
        todo = "" if self.todo is None else f" -> {self.todo}"
        return f"{self.level:<7}  {self.subject}: {self.sentence}{todo}"


def fine(subject: str, sentence: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(level="ok", subject=subject, sentence=sentence)


def warning(subject: str, sentence: str, todo: str) -> Finding:
    """Return a finding that somebody should look at in working hours."""
    return Finding(level="warning", subject=subject, sentence=sentence, todo=todo)


def wrong(subject: str, sentence: str, todo: str) -> Finding:
    """Return a finding that keeps the installation, or a part of it, from its work."""
    return Finding(level="error", subject=subject, sentence=sentence, todo=todo)


def any_error(found: Iterable[Finding]) -> bool:
    """Return True if something has to be mended now."""
    return any(finding.level == "error" for finding in found)


@contextmanager
def without_logs_of_kafka() -> Iterator[None]:
    """Keep aiokafka from logging that it cannot connect: the finding says so, in words."""
    log = logging.getLogger("aiokafka")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


async def in_time(
    subject: str, look: Callable[[], Awaitable[Sequence[Finding]]], seconds: float = ANSWER_SECONDS_MAX
) -> list[Finding]:
    """Return what a check found, or one error if it took too long or failed by a bug of ours. Never raises."""
    try:
        async with asyncio.timeout(seconds):
            return list(await look())
    except TimeoutError:
        return [wrong(subject, f"gave no answer within {seconds:.0f} s", "see whether it is overloaded or unreachable")]
    except Exception as error:  # noqa: BLE001 - the other checks go on, and this one is reported by its name
        return [wrong(subject, f"cannot be checked: {type(error).__name__}", "report it: this is a bug of the check")]
