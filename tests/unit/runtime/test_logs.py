"""What must not be read in a log is masked, by the field's name and by the look of its value."""

from __future__ import annotations

import io
import json
import logging
from contextlib import redirect_stdout

import pytest
from pydantic import SecretStr

from countersign.runtime.watching import logs
from countersign.runtime.watching.logs import MASK, redact


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", "123456"),
        ("number", "+61491570006"),
        ("session_id_plain", {"session": "abc"}),
        ("grant", "eyJhbGciOiJFZERTQSJ9.eyJzdWIi.x"),
        ("said", "your code 123456 is good"),
        ("said", "to +61491570006"),
        ("said", "Authorization: Bearer abcdef"),
        ("said", "postgresql://verifier:hunter2@host/db"),
        ("password", "hunter2"),
        ("anything", SecretStr("hunter2")),
        ("said", ["+61491570006"]),
    ],
)
def test_secrets_are_masked(field: str, value: object) -> None:
    """Neither the name nor the value lets it through."""
    masked = json.dumps(redact(None, "", {field: value}))
    for secret in ("123456", "+61491570006", "eyJ", "abcdef", "hunter2", '"abc"'):
        assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    ("field", "value"), [("number_id", "0193"), ("offset", 123456), ("topic", "access.requests.v1"), ("ready", True)]
)
def test_facts_are_not_masked(field: str, value: object) -> None:
    """Ids and counts stay readable."""
    assert redact(None, "", {field: value})[field] == value


def test_other_libraries_log_as_json_and_the_talkative_ones_are_held() -> None:
    """The AWS library prints message and number at DEBUG: it stays at WARNING whatever the level."""
    out = io.StringIO()
    with redirect_stdout(out):
        logs.configure("toy", "0", "DEBUG")
        logging.getLogger("somebody").warning("number %s", "+61491570006")
        logging.getLogger("botocore.endpoint").debug("body %s", "hello")
        logging.getLogger("asyncpg").debug("fine")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [f"number {MASK}", "fine"]
