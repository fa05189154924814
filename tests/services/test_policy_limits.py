"""Both services that judge how old a request is go by the policy that they are given."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.evaluator import Evaluator, evaluating_with
from tests.support.grants import KeySite
from tests.support.verifier import settings_of
from tests.support.verifier_parts import wired

if TYPE_CHECKING:
    from pathlib import Path

    from services.risk_evaluator.wiring import RiskEvaluatorSettings
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def test_a_request_that_is_stale_for_one_judge_is_stale_for_the_other(servers: Servers, tmp_path: Path) -> None:
    """The folds are asked, not what is printed: these judge."""
    written = tmp_path / "policy.yaml"
    written.write_text("version: strict\nrequests: {age_max: PT77S}\n")

    class Strict(Evaluator):
        def settings(self, jwks_url: str) -> RiskEvaluatorSettings:
            return super().settings(jwks_url).model_copy(update={"policy_file": written})

    evaluator = Strict(servers)
    async with (
        KeySite(evaluator.signer.jwk()) as site,
        evaluating_with(evaluator, site),
        wired(settings_of(servers, policy_file=written)) as (parts, _),
    ):
        ages = {fold.topic: fold.stale_after for fold in (*evaluator.folds, *parts.folds)}
    age_max = timedelta(seconds=77)
    assert (ages["access.requests.v1"], ages["access.assessments.v1"]) == (age_max, age_max)
