"""What is counted says what to do about it, and one search of the log finds a whole story."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from countersign.runtime.consuming.behind import Behind
from tests.support import watching

_ROOT = Path(__file__).parents[3]
_SOURCES = [path for folder in ("countersign", "services") for path in sorted((_ROOT / folder).rglob("*.py"))]
_NAMED = re.compile(r'^\s*(?:\w+ = \w+\()?"(countersign_[a-z_]+)",', re.MULTILINE)
ONE, TWO = TopicPartition("people.wait", 0), TopicPartition("people.wait", 1)
OTHER = TopicPartition("nobody.waits", 0)

# What a log line of a story names, as far as the code that writes it knows it.
_STORY = {
    "assessed": {"request_id", "account_id", "user_id"},
    "producer_clock_wrong": {"request_id", "account_id", "user_id"},
    "assessment_taken": {"request_id", "challenge_id", "account_id", "user_id"},
    "challenge_ended": {"request_id", "challenge_id", "account_id", "user_id"},
    "text_delivered": {"request_id", "challenge_id", "account_id", "user_id"},
    "answer_judged": {"request_id", "challenge_id", "account_id", "user_id"},
    "text_issued": {"request_id", "challenge_id", "account_id", "user_id"},
    "text_settled": {"request_id", "challenge_id", "account_id", "user_id"},
    "number_unreadable": {"user_id"},
    "export_asked": {"request_id", "account_id", "user_id"},
    "export_decided": {"request_id", "account_id", "user_id"},
    "export_fetched": {"request_id", "account_id", "user_id"},
    "login_requested": {"request_id", "user_id"},
    "act_requested": {"request_id", "user_id"},
    "grant_refused": {"request_id", "account_id", "user_id"},
    "signed_in": {"request_id", "account_id", "user_id"},
    "acted": {"request_id", "account_id", "user_id"},
    "verifier_away": {"request_id", "user_id"},
}


def test_every_metric_of_the_code_is_among_those_that_are_checked() -> None:
    """A new one is added to tests/support/watching.py."""
    written = {name for path in _SOURCES for name in _NAMED.findall(path.read_text("utf-8"))}
    assert {"countersign_ready", "countersign_texts_total"} <= written
    assert written - watching.series(watching.registry()).keys() == set()


@pytest.mark.parametrize(("name", "told"), sorted(watching.helps(watching.registry()).items()))
def test_a_help_text_says_what_it_is_and_what_to_do(name: str, told: str) -> None:
    """In two plain sentences or three, with a place to look."""
    sentences = re.split(r"(?<=[.:;]) ", told)
    assert len(sentences) >= 2, name
    assert re.search(r"\b(If|see|See|Mend|must)\b", told), name
    assert told.endswith(".")
    assert len(told) <= 300


def _named_in(call: ast.Call, module: ast.Module) -> set[str]:
    """Return the fields of a log call, those of a `_story(…)` of its module included."""
    fields = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    if any(keyword.arg is None and "_story" in ast.unparse(keyword.value) for keyword in call.keywords):
        (story,) = [one for one in module.body if isinstance(one, ast.FunctionDef) and one.name == "_story"]
        fields |= {node.value for node in ast.walk(story) if isinstance(node, ast.Constant) and node.value != ""}
    return fields


def _log_calls() -> list[tuple[str, set[str]]]:
    found = []
    for path in _SOURCES:
        module = ast.parse(path.read_text("utf-8"))
        for call in ast.walk(module):
            if isinstance(call, ast.Call) and re.search(r"log\.\w+$", ast.unparse(call.func)) and call.args:
                names = {node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)}
                found += [(name, _named_in(call, module)) for name in names & _STORY.keys()]
    return found


def test_every_log_line_of_a_story_names_it() -> None:
    """By the ids that one can search by."""
    calls = _log_calls()
    assert {name for name, _ in calls} == _STORY.keys()
    assert [(name, _STORY[name] - fields) for name, fields in calls if not _STORY[name] <= fields] == []


def test_seconds_behind_count_from_when_a_record_was_first_seen() -> None:
    """Of the oldest one of a topic that is not folded, over all its partitions."""
    behind = Behind()
    assert behind.look({ONE: (10, 0), OTHER: (0, 0)}, 100.0) == {"people.wait": 0.0, "nobody.waits": 0.0}
    assert behind.look({ONE: (10, 2), OTHER: (0, 0)}, 105.0) == {"people.wait": 0.0, "nobody.waits": 0.0}
    assert behind.look({ONE: (10, 9), TWO: (5, 1)}, 110.0) == {"people.wait": 5.0}
    assert behind.look({ONE: (11, 8), TWO: (5, 1)}, 115.0) == {"people.wait": 10.0}  # one of the first two is left
    assert behind.look({ONE: (12, 7), TWO: (5, 1)}, 120.0) == {"people.wait": 10.0}  # what is left came later
    assert behind.look({ONE: (19, 0), TWO: (6, 0)}, 125.0) == {"people.wait": 0.0}


def test_a_partition_that_was_away_begins_anew() -> None:
    """Another process has folded it meanwhile."""
    behind = Behind()
    behind.look({ONE: (10, 5)}, 100.0)
    assert behind.look({}, 150.0) == {}
    assert behind.look({ONE: (14, 1)}, 200.0) == {"people.wait": 0.0}
