"""What `make run` and `make demo` say when the transcript cannot go on: state, reason, what to do; never nothing."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.local.decisions_seen import Seen
from deploy.local.transcript import StoppedError, _Told, words_of, words_of_denial


def denied(**data: Any) -> Seen:
    return Seen(b"countersign.access.denied.v1", {"action": "export", **data})


class SilentWatch:
    """No decision comes but the denial that there may be."""

    def __init__(self, denial: Seen | None = None) -> None:
        self._denial = denial

    async def assessment(self, _: str) -> Seen:
        raise TimeoutError

    async def decision(self, _: str) -> Seen:
        raise TimeoutError

    async def denial(self, _: str) -> Seen | None:
        return self._denial


class SilentPhone:
    """No text comes."""

    async def next_text(self) -> None:
        raise TimeoutError


def told(denial: Seen | None = None) -> Any:
    return _Told(SilentWatch(denial), SilentPhone(), print)  # type: ignore[arg-type] # what it asks of them


async def test_a_text_that_was_held_back_is_told_with_its_reason_and_time() -> None:
    """Was: an empty TimeoutError."""
    seen = denied(reason="sms.suppressed", retry_at="2026-11-26T03:00:00Z")
    with pytest.raises(StoppedError, match=r"export request was denied: sms\.suppressed .* after 2026-11-26T03"):
        await told(seen).text("export", 0.0)


async def test_silence_is_told_in_words() -> None:
    """No text, no assessment, no decision: each says what is missing and where to look."""
    with pytest.raises(StoppedError, match=r"no text for the login request .* challenged.* notifier\.log"):
        await told().text("login", 0.0)
    with pytest.raises(StoppedError, match=r"nothing was decided .* risk_evaluator\.log"):
        await told().assessment("login")
    with pytest.raises(StoppedError, match=r"no decision .* challenged.* verifier\.log"):
        await told().decision("login")


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), StoppedError(), ValueError("why")])
def test_no_exception_has_no_words(error: Exception) -> None:
    """Its kind is the least that is told."""
    assert words_of(error).strip()


def test_a_denial_of_an_unknown_reason_is_told_all_the_same() -> None:
    """A newer reason than this list."""
    assert "login" in words_of_denial(Seen(b"", {"action": "login", "reason": "moon.full"}))
