"""Alert rules: they fire when they should, ask for what there is, and each leads to a runbook that works."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from countersign.cli import COMMANDS, main, program
from deploy.local.promtool import promtool
from tests.support import watching

_DEPLOY = Path(__file__).parents[3] / "deploy"
_ALERTS, _RUNBOOKS = _DEPLOY / "alerts", _DEPLOY / "runbooks"
_SECTIONS = ("For users", "Look", "Do", "Do not", "Over when")
_CODE = re.compile(r"`(countersign [^`]*)`")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((_ALERTS / "countersign.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def runbook_of(alert: str) -> str:
    words = re.findall(r"[A-Z][a-z]+", alert.removeprefix("Countersign"))
    return "-".join(words).lower() + ".md"


NAMES = [rule["alert"] for rule in rules()]
SCENES = ("tests.yaml", "tests-days.yaml")
BOOKS = sorted(path.name for path in _RUNBOOKS.iterdir())


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool()), *arguments], check=False, capture_output=True, text=True, cwd=_ALERTS)


def test_prometheus_takes_the_rules_and_the_scrape_configuration() -> None:
    """By Prometheus' own tool."""
    for what, file in (("rules", "countersign.yaml"), ("config", "prometheus.yaml")):
        done = ran("check", what, file)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", SCENES)
def test_each_alert_fires_when_it_should_and_nothing_else_does(file: str) -> None:
    """In every scene, played by Prometheus' own tool."""
    done = ran("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_the_scenes_would_show_an_alert_that_never_fires(tmp_path: Path) -> None:
    """A threshold that nothing reaches fails the scenes, so they are played for real."""
    sound = (_ALERTS / "countersign.yaml").read_text()
    broken = sound.replace("(countersign_braked) == 1", "(countersign_braked) == 2")
    assert broken != sound
    (tmp_path / "countersign.yaml").write_text(broken)
    scenes = yaml.safe_load((_ALERTS / "tests.yaml").read_text())
    scenes["tests"] = [scene for scene in scenes["tests"] if "CountersignPartitionBraked" in str(scene)]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(scenes))
    done = ran("test", "rules", str(tmp_path / "tests.yaml"))
    assert done.returncode != 0
    assert "CountersignPartitionBraked" in done.stdout + done.stderr


def test_each_alert_is_seen_firing_in_a_scene() -> None:
    """None is left out."""
    scenes = [scene for file in SCENES for scene in yaml.safe_load((_ALERTS / file).read_text())["tests"]]
    samples = [one for scene in scenes for check in scene["promql_expr_test"] for one in check["exp_samples"]]
    fired = {re.sub(r'.*"(\w+)".*', r"\1", sample["labels"]) for sample in samples}
    assert fired == set(NAMES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_the_services_have(rule: dict[str, Any]) -> None:
    """Metrics and labels exist, also those in its summary; somebody is told how soon."""
    known = watching.series(watching.registry())
    assert watching.unknown_in(rule["expr"], known) == []
    labels = {label for _, used in watching.asked(rule["expr"]) for label in used} | watching.OF_THE_TARGET
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert named <= labels
    assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("countersign_brakes > 0", ["no metric countersign_brakes"]),
        ('rate(countersign_texts_total{land="SE"}[5m]) > 0', ["countersign_texts_total has no label land"]),
        ("sum by (county) (countersign_texts_total) > 0", ["countersign_texts_total has no label county"]),
        ("1 - (-max(countersign_nothing))", ["no metric countersign_nothing"]),
    ],
)
def test_what_does_not_exist_would_be_found(expression: str, found: list[str]) -> None:
    """In every place of an expression where a name can stand."""
    assert watching.unknown_in(expression, watching.series(watching.registry())) == found


def test_there_is_one_runbook_an_alert_and_none_too_many() -> None:
    """Named as the alert is, and where its annotation says."""
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"deploy/runbooks/{runbook_of(rule['alert'])}"
    assert sorted(runbook_of(name) for name in NAMES) == BOOKS


@pytest.mark.parametrize("book", BOOKS)
def test_a_runbook_says_what_somebody_at_three_in_the_morning_needs(book: str) -> None:
    """What it means for users, where to look, what to do, what not to do, when it is over."""
    text = (_RUNBOOKS / book).read_text()
    assert runbook_of(text.splitlines()[0].removeprefix("# ")) == book
    assert tuple(re.findall(r"^## (.*)$", text, re.MULTILINE)) == _SECTIONS
    others = set(re.findall(r"\b([a-z-]+\.md)\b", text))
    assert others <= set(BOOKS)


def commands() -> list[str]:
    """Return each command line that a runbook names."""
    found = {command for book in BOOKS for command in _CODE.findall((_RUNBOOKS / book).read_text())}
    return sorted(found)


def path_of(line: str) -> list[str]:
    """Return the names of the command and its groups in a command line, without what it is told."""
    command, path = typer.main.get_command(program(COMMANDS)), list[str]()
    for word in line.split()[1:]:
        below = getattr(command, "commands", {})
        if word not in below:
            break
        command = below[word]
        path.append(word)
    assert not getattr(command, "commands", {}), f"{line}: no such command"
    return path


@pytest.mark.parametrize("line", commands())
def test_a_command_of_a_runbook_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With every option that the runbook gives it."""
    path = path_of(line)
    assert main([*path, "--help"]) == 0
    told = capsys.readouterr().out
    assert [option for option in re.findall(r"(?<!\S)--[a-z-]+", line) if f"{option} " not in told] == []


def test_a_command_that_is_none_would_be_found() -> None:
    """A group alone, and a word that is no command."""
    for line in ("countersign dlq reddrive verifier", "countersign undo"):
        with pytest.raises(AssertionError, match="no such command"):
            path_of(line)
