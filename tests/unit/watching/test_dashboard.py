"""The dashboard shows what the services have, and what somebody on call looks for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import watching

_DEPLOY = Path(__file__).parents[3] / "deploy"
_DASHBOARD = json.loads((_DEPLOY / "grafana" / "countersign.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]


def expressions(panel: dict[str, Any]) -> list[str]:
    """Return the panel's PromQL, Grafana's own variable put in."""
    return [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_the_services_have(panel: dict[str, Any]) -> None:
    """Metrics and labels exist, also those that name its lines; a runbook that it names is there."""
    known = watching.series(watching.registry())
    for target, expression in zip(panel["targets"], expressions(panel), strict=True):
        assert watching.unknown_in(expression, known) == []
        labels = {label for _, used in watching.asked(expression) for label in used} | watching.OF_THE_TARGET
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels
    books = re.findall(r"[Rr]unbooks? ([a-z-]+(?:(?:,| and) [a-z-]+)*)", panel["description"])
    for book in re.split(r", | and ", ", ".join(books)) if books else ():
        assert (_DEPLOY / "runbooks" / f"{book}.md").exists(), book


def test_every_metric_of_ours_that_an_alert_asks_for_can_be_looked_at() -> None:
    """Whoever is paged sees the curve, but for what has no curve worth a panel."""
    rules = (_DEPLOY / "alerts" / "countersign.yaml").read_text()
    shown = {name for panel in PANELS for expression in expressions(panel) for name, _ in watching.asked(expression)}
    paged = set(re.findall(r"countersign_[a-z_]+", rules))
    assert paged - shown == {"countersign_manager_acts_exceeded_total"}


def test_no_panel_covers_another() -> None:
    """Each has an id and a place of its own on the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in _DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in _DASHBOARD["panels"]}) == len(_DASHBOARD["panels"])
