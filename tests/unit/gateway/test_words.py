"""The words: the same in every language, and chosen as the visitor likes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import get_args

import pytest

from countersign.contract import DenialReason
from services.gateway import words
from services.gateway.pages.asked_exports import UNDER_WAY
from services.gateway.pages.code import SAID

LANGUAGES = words.load()


def test_every_language_says_the_same() -> None:
    """The same keys, with the same blanks."""
    assert set(LANGUAGES) == {"en", "de"}
    english = LANGUAGES["en"]
    for other in LANGUAGES.values():
        assert other.names() == english.names()
        for key in english.names():
            assert _blanks(other, key) == _blanks(english, key), key


def _blanks(language: words.Words, key: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", language._flat[key]))  # noqa: SLF001 - the file itself is looked at


def test_every_reason_is_said() -> None:
    """Whatever the verifier denies with has a title and a sentence."""
    assert set(SAID) == set(get_args(DenialReason))
    for language in LANGUAGES.values():
        for kind in SAID.values():
            assert language(f"denied.{kind}.title")
            assert language(f"denied.{kind}.body")


def test_each_end_of_a_code_has_a_sentence_of_its_own() -> None:
    """Expired, exhausted, cancelled: whoever holds the request learns which, and what to do."""
    ends = [SAID[reason] for reason in ("code.expired", "code.exhausted", "cancelled")]
    for language in LANGUAGES.values():
        assert len({language(f"denied.{kind}.title") for kind in ends}) == 3
        assert len({language(f"denied.{kind}.body") for kind in ends}) == 3


def test_every_state_of_an_export_has_words() -> None:
    """On the start page: whatever the verifier denies with, and what exports says."""
    for language in LANGUAGES.values():
        for state in {*SAID.values(), *UNDER_WAY, "over", "ready", "gone", "failed"}:
            assert language(f"home.export.{state}", wait="1:00 min")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0:00 min"),
        (0, "0:00 min"),
        (59.1, "1:00 min"),
        (298.2, "4:59 min"),
        (299.5, "5 minutes"),
        (300, "5 minutes"),
    ],
)
def test_a_clock_runs_in_minutes_and_seconds(seconds: float, said: str) -> None:
    """Below five minutes; a whole limit of five minutes is five minutes."""
    assert LANGUAGES["en"].clock(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 second"),
        (0.2, "1 second"),
        (25, "25 seconds"),
        (90, "90 seconds"),
        (90.5, "2 minutes"),
        (300, "5 minutes"),
        (5_400, "90 minutes"),
        (5_401, "2 hours"),
    ],
)
def test_durations_are_rounded_up(seconds: float, said: str) -> None:
    """Whoever waits as long as the page says has waited long enough."""
    assert LANGUAGES["en"].duration(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr,de;q=0.4,en;q=0.5", "en"),
        ("de;q=0", "en"),
        ("DE-ch", "de"),
        ("de;q=2,en;q=0.1", "en"),
        ("de;q=abc", "en"),
        (";q=1,,,", "en"),
        ("x" * 10_000, "en"),
        ("de;q=0.3," * 200 + "de", "en"),
        ("de; q=0.9, en;q=0.1", "de"),
        ("en;q=0.1,de ;\tQ=0.2", "de"),
        ("fr, *;q=0.5", "en"),
        ("*;q=0.5, en;q=0.1", "de"),
        ("en;q=0, *", "de"),
        ("en;q=0.0,de;q=0.001", "de"),
        ("de;q=0, de-AT", "en"),
        ("de-AT;q=0, de", "de"),
        ("en;q=0", "en"),
        ("de;q=0.5, en;q=0.5", "de"),
        ("de;q=nan", "en"),
        ("de;q=1.0000,en;q=0.1", "en"),
        ("de;level=1;q=1,en;q=0.1", "en"),
        ("den, en;q=0.1", "en"),
        ("de_AT, en;q=0.1", "en"),
    ],
)
def test_the_language_is_negotiated(header: str | None, language: str) -> None:
    """RFC 9110, section 12.5.4, and whatever else is sent."""
    assert words.choose(header, LANGUAGES).language == language
