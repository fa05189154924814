"""Rings of keys at a moment, each limit from both sides; and secrets files, alone and beside each other."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from countersign.operations.doctor.secret_files import files_in, secrets_findings
from countersign.runtime.keys import WAITS, KeySettings
from countersign.runtime.program.key_ages import AGE_MAX, EARLY_MAX, RETIRED_KEPT, key_findings

if TYPE_CHECKING:
    from pathlib import Path

    from countersign.runtime.checkup import Finding

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SECRETS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(3)]


def a_key(
    key_id: str = "code-1", *, age: timedelta = timedelta(days=10), secret: int = 0, **over: Any
) -> dict[str, Any]:
    """Return a key as a secrets file has it; `retired` is how long ago it was."""
    retired = over.pop("retired", None)
    ended = {} if retired is None else {"retired_at": (NOON - retired).isoformat()}
    return {"key_id": key_id, "secret": SECRETS[secret], "active_from": (NOON - age).isoformat(), **ended, **over}


def told(*keys: dict[str, Any], ring: str = "code_keys") -> list[Finding]:
    return key_findings("verifier.json", ring, [KeySettings.model_validate(key) for key in keys], NOON)


@pytest.mark.parametrize(
    ("keys", "levels", "words"),
    [
        ([a_key()], ["ok"], "code_keys: code-1 is in use, 10 days old"),
        ([a_key(age=timedelta(0))], ["ok"], "code-1 is in use, 0 days old"),
        ([a_key(age=AGE_MAX)], ["ok"], "is in use, 730 days old"),
        ([a_key(age=AGE_MAX + SECOND)], ["warning"], "code-1, which is in use, is 730 days old; at most 730"),
        ([a_key(age=AGE_MAX + SECOND), a_key("code-2")], ["ok"], "code-2 is in use, 10 days old"),
        ([], ["error"], "code_keys has no key that is active now"),
        ([a_key(age=-SECOND)], ["error", "ok"], "has no key that is active now"),
        ([a_key(retired=timedelta(0))], ["error"], "has no key that is active now"),
        ([a_key(retired=-SECOND)], ["ok"], "code-1 is in use"),
        (
            [a_key(), a_key("code-2", age=-EARLY_MAX)],
            ["ok"],
            "code-2 is installed and becomes active at 2026-07-01 12:00",
        ),
        (
            [a_key(), a_key("code-2", age=-EARLY_MAX - SECOND)],
            ["warning"],
            "code-2 is not active before 2026-07-01, in 30 d",
        ),
        ([a_key(), a_key("code-0", retired=RETIRED_KEPT)], ["ok"], "code-1 is in use"),
        (
            [a_key(), a_key("code-0", retired=RETIRED_KEPT + SECOND)],
            ["warning"],
            "code-0 is still listed though it was retired 40 days ago",
        ),
        (
            [a_key(), a_key("code-2", active_from=WAITS.isoformat())],
            ["ok"],
            "code-2 is installed and waits for `countersign keys rotate`",
        ),
    ],
    ids=range(14),
)
def test_a_ring_is_judged(keys: list[dict[str, Any]], levels: list[str], words: str) -> None:
    """Each limit, from both sides; the newest of the active keys counts."""
    found = told(*keys)
    assert [finding.level for finding in found] == levels
    assert words in " ".join(finding.sentence for finding in found)
    assert all(finding.todo for finding in found if finding.level != "ok")


def test_a_ring_that_waits_for_its_key_says_when() -> None:
    """And an old number key is not taken out before the numbers under it were sealed anew."""
    (first, _) = told(a_key(age=timedelta(hours=-1)))
    assert first.todo is not None
    assert "code-1 becomes active at 2026-06-01 13:00 UTC" in first.todo
    (old,) = told(a_key(), a_key("number-0", retired=timedelta(days=99)), ring="number_keys")
    assert "rekey" in str(old.todo)


def written(folder: Path, service: str, content: object, mode: int = 0o600) -> Path:
    file = folder / f"{service}.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    file.chmod(mode)
    return file


def test_files_that_agree_are_fine(tmp_path: Path) -> None:
    """One finding a ring, and files of others in the folder are passed over."""
    written(tmp_path, "verifier", {"code_keys": [a_key()], "grant_keys": [a_key("grant-1")], "pepper": "x"})
    written(tmp_path, "notifier", {"code_keys": [a_key()]})
    written(tmp_path, "kafka", {"admin": "x"})
    found = secrets_findings(files_in(tmp_path), NOON)
    assert [finding.level for finding in found] == ["ok", "ok", "ok"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not JSON", "is not JSON"),
        ("[]", "is not a JSON object"),
        ({"code_keys": {}}, "code_keys is not an array of keys"),
        ({"code_keys": [{"key_id": "code-1"}]}, "secret: missing"),
        ({"code_keys": [a_key(secret_of="x")]}, "secret_of"),
    ],
    ids=["text", "array", "no ring", "half a key", "another field"],
)
def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, content: object, words: str) -> None:
    """And no other file is passed over for it; nothing of the content is quoted."""
    files = [
        written(tmp_path, "verifier", content),
        written(tmp_path, "enrolment", {"number_keys": [a_key("number-1")]}),
    ]
    first, second = secrets_findings(files, NOON)
    assert (first.level, second.level) == ("error", "ok")
    assert words in first.sentence
    assert SECRETS[0] not in str(first)


def test_a_file_that_others_can_read_is_an_error(tmp_path: Path) -> None:
    """With the mode."""
    first, second = secrets_findings([written(tmp_path, "verifier", {"code_keys": [a_key()]}, 0o640)], NOON)
    assert (first.level, second.level) == ("error", "ok")
    assert "mode 0640" in first.sentence


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([a_key(), a_key("code-2", age=-SECOND)], "only one of them has code-2"),
        ([a_key("code-2")], "only one of them has code-1, code-2"),
        ([a_key(secret=1)], "the same id has another secret in each: code-1"),
    ],
    ids=["one more", "another", "another secret"],
)
def test_files_that_share_a_ring_are_compared(tmp_path: Path, others: list[dict[str, Any]], words: str) -> None:
    """A code that the verifier seals under a key that the notifier does not have is never sent."""
    files = [
        written(tmp_path, "verifier", {"code_keys": [a_key()]}),
        written(tmp_path, "notifier", {"code_keys": others}),
    ]
    (found,) = [finding for finding in secrets_findings(files, NOON) if finding.level != "ok"]
    assert (found.level, found.subject) == ("error", "code_keys of verifier and notifier")
    assert found.sentence == words


def test_where_there_is_no_file_that_is_said() -> None:
    """It is no fault: an operator need not have any."""
    (found,) = secrets_findings([], NOON)
    assert (found.level, found.subject) == ("ok", "secrets files")
