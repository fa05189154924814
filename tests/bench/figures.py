"""The figures of a run: a table for people, `.local/bench.json` for comparing runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WIDTHS = (58, 12, 12, 7, 22)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside the bare loop's.

    `ratio` is 1 where the two are even, and below 1 where ours is the worse, whichever way the unit goes.
    """

    row: str
    what: str
    ours: float
    bare: float | None
    unit: str
    goal: str = ""
    reached: bool | None = None
    ratio: float | None = None
    more: dict[str, Any] = field(default_factory=dict)


def rate(row: str, what: str, ours: float, bare: float | None, unit: str, least: float | None = None) -> Figure:
    """Return a figure of which more is better, and at least `least` is asked for."""
    goal, reached = (f">= {least:g} {unit}", ours >= least) if least is not None else ("", None)
    return Figure(row, what, ours, bare, unit, goal, reached, ours / bare if bare else None)


def cost(row: str, what: str, ours: float, bare: float | None, unit: str, most: float | None = None) -> Figure:
    """Return a figure of which less is better, and at most `most` is allowed."""
    goal, reached = (f"<= {most:g} {unit}", ours <= most) if most is not None else ("", None)
    return Figure(row, what, ours, bare, unit, goal, reached, bare / ours if bare and ours else None)


def lines(figures: Sequence[Figure]) -> list[str]:
    """Return the table."""
    head = _line("what", "ours", "bare loop", "ratio", "to reach", "")
    return [head, "-" * len(head), *(_row(figure) for figure in figures)]


def _row(figure: Figure) -> str:
    verdict = {True: "yes", False: "NO", None: ""}[figure.reached]
    bare = "" if figure.bare is None else _number(figure.bare)
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return _line(f"{figure.what} [{figure.unit}]", _number(figure.ours), bare, ratio, figure.goal, verdict)


def _line(*parts: str) -> str:
    texts, numbers = parts[:1], parts[1:4]
    shown = [f"{texts[0]:<{_WIDTHS[0]}}", *(f"{n:>{w}}" for n, w in zip(numbers, _WIDTHS[1:4], strict=True))]
    return "  ".join((*shown, f"{parts[4]:<{_WIDTHS[4]}}", parts[5])).rstrip()


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(path: Path, figures: Sequence[Figure], about: dict[str, Any]) -> None:
    """Keep the figures; those of rows that were not measured this time stay as they were."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        rows = {figure.row for figure in figures}
        kept = [one for one in json.loads(path.read_text())["figures"] if one["row"] not in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"about": about, "figures": [*kept, *(asdict(figure) | {"about": about} for figure in figures)]}
    path.write_text(json.dumps(said, indent=1))
