"""Variables that nobody reads, and the names that were meant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from countersign.runtime.program.unread_settings import OTHERS_READ, setting_names, unread, unread_findings
from services.gateway.settings import GatewaySettings
from services.notifier.settings import NotifierSettings
from services.verifier.settings import VerifierSettings

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

VERIFIER = frozenset(setting_names(VerifierSettings))


def test_names_are_those_that_the_settings_class_reads() -> None:
    """Whole parts and fields of parts, optional parts too; items of lists come as JSON and have no names."""
    assert {"COUNTERSIGN_KAFKA", "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS", "COUNTERSIGN_HTTP__CALLERS"} <= VERIFIER
    assert {"COUNTERSIGN_HTTP__CONNECTIONS__ALL_MAX", "COUNTERSIGN_CODE_KEYS"} <= VERIFIER
    assert "COUNTERSIGN_LOCAL__SNS_URL" in set(setting_names(GatewaySettings))
    assert not {
        name for name in VERIFIER if name.startswith(("COUNTERSIGN_HTTP__CALLERS__", "COUNTERSIGN_CODE_KEYS__"))
    }


@pytest.mark.parametrize("settings", [GatewaySettings, NotifierSettings, VerifierSettings])
def test_what_is_read_is_no_finding(settings: type[BaseModel]) -> None:
    """In upper and lower case, with what the start of a service reads, and whatever has another prefix."""
    known = set(setting_names(settings))
    given = {*known, *(name.lower() for name in known), *OTHERS_READ, "KAFFKA", "PATH", "COUNTER"}
    assert unread(given, known) == {}


def test_entries_of_a_field_that_takes_any_names_are_read() -> None:
    """pydantic-settings puts them together; the field itself may be misspelt all the same."""
    assert unread({"COUNTERSIGN_TRACES__HEADERS__X-TENANT", "countersign_traces__headers__a__b"}, VERIFIER) == {}
    assert unread({"COUNTERSIGN_TRACES__HEADER__X"}, VERIFIER) == {
        "COUNTERSIGN_TRACES__HEADER__X": "COUNTERSIGN_TRACES__HEADERS"
    }


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("COUNTERSIGN_KAFFKA__X", "COUNTERSIGN_KAFKA__…"),
        ("COUNTERSIGN_KAFFKA__BOOTSTRAP_SERVERS", "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS"),
        ("COUNTERSIGN_KAFKA__BOOTSTRAP_SERVER", "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS"),
        ("COUNTERSIGN_KAFKA_BOOTSTRAP_SERVERS", "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS"),
        ("COUNTERSIGN_CODE__KEYS", "COUNTERSIGN_CODE_KEYS"),
        ("countersign_code__lifetme", "COUNTERSIGN_CODE__LIFETIME"),
        ("COUNTERSIGN_PEPER", "COUNTERSIGN_PEPPER"),
        ("COUNTERSIGN_COLOUR_OF_THE_SKY", None),
    ],
)
def test_the_nearest_name_is_told(name: str, near: str | None) -> None:
    """Part by part; nothing where nothing is near."""
    assert unread({name}, VERIFIER) == {name: near}


def test_names_in_the_secrets_file_are_looked_at(tmp_path: Path) -> None:
    """They are passed over just so; no value is quoted."""
    file = tmp_path / "verifier.json"
    file.write_text(json.dumps({"pepper": "c2VjcmV0", "peppper": "c2VjcmV0", "code_keys": []}))
    (found,) = unread_findings("verifier", VerifierSettings, {"COUNTERSIGN_PEPPER": "c2VjcmV0"}, file)
    assert found.level == "warning"
    assert found.sentence == "peppper in it is no setting of verifier: nobody reads it"
    assert found.todo == "correct the name or take it out; pepper is the nearest name"


@pytest.mark.parametrize("content", ["[]", "not JSON", '"pepper"'])
def test_a_secrets_file_that_is_none_is_somebody_elses_finding(tmp_path: Path, content: str) -> None:
    """The settings class refuses it."""
    file = tmp_path / "verifier.json"
    file.write_text(content)
    assert unread_findings("verifier", VerifierSettings, {}, file) == []
