"""The settings of a risk-evaluator that is a program of its own, as the command line hands them to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deploy.local.checkout import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.servers import Servers

SERVICE = "risk_evaluator"
NO_JWKS = "http://127.0.0.1:9/jwks.json"  # where nobody answers: the command does not ask
LOCAL = CHECKOUT / "deploy/policy/local.yaml"


def give_settings(monkeypatch: pytest.MonkeyPatch, folder: Path, servers: Servers, jwks_url: str) -> None:
    """Put them into the environment, its secrets into the folder."""
    secrets = folder / f"{SERVICE}.json"
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps(servers.secrets[SERVICE]))
    for name, value in {
        "SECRETS_FILE": str(secrets),
        "KAFKA__BOOTSTRAP_SERVERS": servers.kafka,
        "POLICY_FILE": str(LOCAL),
        "JWKS_URL": jwks_url,
    }.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
