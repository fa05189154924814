"""Settings and limits: an unfit policy is told at the start, and each limit that is judged by is printed."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import ValidationError

from countersign.runtime.settings import KafkaSettings, PostgresSettings
from services.risk_evaluator.wiring import RiskEvaluatorSettings, limits

POLICY_FILE = Path(__file__).parents[3] / "deploy/policy/default.yaml"


def settings(policy_file: Path = POLICY_FILE) -> RiskEvaluatorSettings:
    key = {"key_id": "a-1", "secret": b64encode(b"k" * 32).decode(), "active_from": "2026-01-01T00:00:00Z"}
    return RiskEvaluatorSettings.model_validate(
        {
            "postgres": PostgresSettings.model_validate({"dsn": "postgresql://nobody@127.0.0.1/nothing"}),
            "kafka": KafkaSettings(bootstrap_servers="127.0.0.1:1"),
            "policy_file": policy_file,
            "jwks_url": "https://nowhere/jwks.json",
            "assessment_keys": [key],
        }
    )


def test_an_unfit_policy_is_no_setting(tmp_path: Path) -> None:
    """Nobody is let in on a guess: the process does not start, and says why."""
    unfit = tmp_path / "policy.yaml"
    unfit.write_text("version: x\nrequests: {age_max: PT1H}\n")
    with pytest.raises(ValidationError, match=r"requests\.age_max"):
        settings(unfit)


def test_the_settings_show_no_key() -> None:
    """They may be printed by accident."""
    assert "kkkk" not in repr(settings())
    assert b64encode(b"k" * 32).decode() not in repr(settings())


def test_each_limit_has_its_source() -> None:
    """What `make limits` prints of the risk-evaluator."""
    printed = {limit.name: limit for limit in limits(settings())}
    assert printed["policy.requests.age_max"].value == "120 s"
    assert {"policy.places.forget_after", "policy.exports.hold", "assessment.kept"} <= printed.keys()
    assert all(limit.value and len(limit.source) > 10 for limit in printed.values())
