"""What the pages say, by language: one TOML file each, the same keys in all of them."""

from __future__ import annotations

import math
import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

DEFAULT = "en"
_SECONDS_AS_SECONDS_MAX = 90
_MINUTES_AS_MINUTES_MAX = 90


class Words:
    """The words of one language. A key that is not there is a bug and raises KeyError."""

    def __init__(self, language: str, table: Mapping[str, Any]) -> None:
        self.language = language
        self._flat = dict(_flatten(table))

    def names(self) -> frozenset[str]:
        """Return the keys of all that is said, plural forms apart."""
        return frozenset(self._flat)

    def __call__(self, key: str, **fill: object) -> str:
        """Return the words of a key with its blanks filled in; `n` chooses between `one` and `other`."""
        text = self._flat.get(key)
        if text is None:
            text = self._flat[f"{key}.{'one' if fill['n'] == 1 else 'other'}"]
        return text.format_map(fill)

    def around(self, key: str, blank: str) -> tuple[str, str]:
        """Return the words before and after a blank, for markup in its place."""
        before, _, after = self._flat[key].partition(f"{{{blank}}}")
        return before, after

    def duration(self, length: timedelta) -> str:
        """Return how long something takes, rounded up and never nothing: "25 seconds", "5 minutes", "2 hours"."""
        seconds = max(1, math.ceil(length.total_seconds()))
        if seconds <= _SECONDS_AS_SECONDS_MAX:
            return self("time.seconds", n=seconds)
        minutes = math.ceil(seconds / 60)
        if minutes <= _MINUTES_AS_MINUTES_MAX:
            return self("time.minutes", n=minutes)
        return self("time.hours", n=math.ceil(minutes / 60))


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found


def load() -> dict[str, Words]:
    """Return the words of every language there is a file of."""
    folder = files("services.gateway") / "words"
    return {
        entry.name.removesuffix(".toml"): Words(entry.name.removesuffix(".toml"), tomllib.loads(entry.read_text()))
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


def choose(accept_language: str | None, languages: Mapping[str, Words]) -> Words:
    """Return the words that the visitor likes best (RFC 9110, section 12.5.4); English where nothing fits."""
    best, best_weight = DEFAULT, 0.0
    for part in (accept_language or "")[:200].split(","):
        tag, _, weight = part.partition(";q=")
        language = tag.strip().lower().partition("-")[0]
        liking = _weight(weight)
        if language in languages and liking > best_weight:
            best, best_weight = language, liking
    return languages[best]


def _weight(text: str) -> float:
    if not text.strip():
        return 1.0
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
