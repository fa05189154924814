"""Settings: bounded, secret; and every limit named with its source."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.verifier.limits import limits
from services.verifier.settings import VerifierSettings

KEY = {"key_id": "k-1", "secret": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDMyISE=", "active_from": "2026-01-01T00:00:00Z"}


def settings(**over: Any) -> VerifierSettings:
    fields: dict[str, Any] = {
        "postgres": {"dsn": "postgresql://verifier:hidden@127.0.0.1/countersign"},
        "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
        "http": {"port": 8081},
        "policy_file": "deploy/policy/default.yaml",
        "pepper": "cGVwcGVyIHBlcHBlciBwZXBwZXIgcGVwcGVyIDMyISE=",
        "assessment_keys": [KEY],
        "code_keys": [KEY],
        "grant_keys": [KEY],
    }
    return VerifierSettings(**(fields | over))


@pytest.mark.parametrize(
    ("part", "fits"),
    [
        ({"code": {"lifetime": timedelta(minutes=10)}}, True),
        ({"code": {"lifetime": timedelta(minutes=10, seconds=1)}}, False),
        ({"code": {"digits": 5}}, False),
        ({"code": {"digits": 8}}, True),
        ({"code": {"digits": 9}}, False),
        ({"code": {"attempts_max": 10}}, True),
        ({"code": {"attempts_max": 11}}, False),
        ({"code": {"attempts_max": 0}}, False),
        ({"code": {"lifetme": 1}}, False),
        ({"grant": {"lifetime": timedelta(minutes=11)}}, False),
        ({"policy_file": "nowhere.yaml"}, False),
        ({"pepper": "c2hvcnQ="}, False),
        ({"grant_keys": []}, False),
    ],
)
def test_each_setting_has_its_bounds(part: dict[str, Any], fits: bool) -> None:
    """A code that lives over ten minutes is refused at start-up, and so is a misspelt limit."""
    if fits:
        settings(**part)
        return
    with pytest.raises(ValidationError):
        settings(**part)


def test_no_secret_shows() -> None:
    """Neither pepper nor keys nor passwords."""
    shown = repr(settings())
    for secret in ("pepper pepper", "cGVwcGVy", "secret secret", "c2VjcmV0", "hidden"):
        assert secret not in shown


def test_each_limit_has_a_value_and_a_source() -> None:
    """As `make limits` prints them."""
    listed = {limit.name: limit for limit in limits(settings(code={"attempts_max": 3}))}
    assert listed["code.attempts_max"].value == "3"
    assert listed["code.lifetime"].value == "300 s"
    assert listed["failures.max"].value == "100"
    assert all(limit.source for limit in listed.values())
