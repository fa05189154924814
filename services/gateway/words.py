"""What the pages say, by language: one TOML file each, the same keys in all of them."""

from __future__ import annotations

import math
import re
import tomllib
from importlib.resources import files
from string import Formatter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

DEFAULT = "en"
_SECONDS_ON_THE_CLOCK = 300
_SECONDS_AS_SECONDS_MAX = 90
_MINUTES_AS_MINUTES_MAX = 90
_HEADER_CHARACTERS_MAX = 1_000  # chosen: far more languages than anybody reads
# RFC 4647, 2.1 (a language range) and RFC 9110, 12.4.2 (a weight: at most three decimals, `q` in either case).
_RANGE = re.compile(
    r"^(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)(?:[ \t]*;[ \t]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?\Z"
)


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

    def pieces(self, key: str) -> list[tuple[str, str | None]]:
        """Return the words of a key in pieces, each with the name of the blank that follows it, for markup in these."""
        return [(words, blank) for words, blank, _, _ in Formatter().parse(self._flat[key])]

    def around(self, key: str, blank: str) -> tuple[str, str]:
        """Return the words before and after a blank, for markup in its place."""
        before, _, after = self._flat[key].partition(f"{{{blank}}}")
        return before, after

    def clock(self, length: timedelta) -> str:
        """Return how long is left on a clock that runs: below five minutes "4:59 min", else as a duration."""
        seconds = max(0, math.ceil(length.total_seconds()))
        if seconds >= _SECONDS_ON_THE_CLOCK:
            return self.duration(length)
        minutes, rest = divmod(seconds, 60)
        return self("time.clock", minutes=minutes, seconds=f"{rest:02}")

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
    """Return the words that the visitor likes best (RFC 9110, 12.5.4); English where nothing fits.

    A range fits the language that it begins with (RFC 4647, 3.4: `de-AT` is looked up as `de`), `*` each language that
    no range names, and weight 0 rules its language out. Of equal weights the range that comes first counts.
    """
    liked: dict[str, float] = {}
    for tag, weight in _ranges(accept_language or ""):
        language = tag.partition("-")[0]
        # `de-AT;q=0` says nothing of German elsewhere; `de;q=0` rules it out.
        if weight == 0 and "-" in tag:
            continue
        if weight == 0 or liked.get(language) != 0:
            liked[language] = 0.0 if weight == 0 else max(weight, liked.get(language, 0.0))
    others = liked.get("*", 0.0)
    order = [*(name for name in liked if name in languages), *sorted(languages, key=lambda name: name != DEFAULT)]
    best = max(order, key=lambda name: liked.get(name, others))
    return languages[best if liked.get(best, others) > 0 else DEFAULT]


def _ranges(header: str) -> list[tuple[str, float]]:
    """Return language ranges in lower case with their weights; what the grammar does not allow is left out."""
    if len(header) > _HEADER_CHARACTERS_MAX:
        return []
    found = (_RANGE.match(part.strip(" \t")) for part in header.split(","))
    return [(part[1].lower(), float(part[2] or 1)) for part in found if part is not None]
