"""A limit is written in one place: two places would say two things some day, and the laxer one would count."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from countersign.policy import Policy
from deploy.local.layout import SERVICES
from services.risk_evaluator.wiring import limits as evaluator_limits
from services.verifier.limits import limits as verifier_limits
from tests.unit.risk_evaluator.test_wiring import settings as evaluator_settings
from tests.unit.verifier.test_settings import settings as verifier_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def names_in(model: type[BaseModel]) -> Iterator[str]:
    """Yield the name of every value in a model and its parts."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from names_in(kind)
        else:
            yield name


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_policy_says_is_no_setting_of_a_service(service: str) -> None:
    """Whoever goes by it reads the policy."""
    settings = importlib.import_module(f"services.{service}.wiring").SERVICE.settings
    assert set(names_in(settings)) & set(names_in(Policy)) == set()


def test_both_judges_of_an_age_go_by_the_policy(tmp_path: Path) -> None:
    """A request that is stale for one is stale for the other."""
    written = tmp_path / "policy.yaml"
    written.write_text("version: strict\nrequests: {age_max: PT1M, future_max: PT7S}\n")
    told = [
        {limit.name: limit.value for limit in limits if limit.name.startswith("policy.requests.")}
        for limits in (
            evaluator_limits(evaluator_settings(written)),
            verifier_limits(verifier_settings(policy_file=written)),
        )
    ]
    assert told == [{"policy.requests.age_max": "60 s", "policy.requests.future_max": "7 s"}] * 2
