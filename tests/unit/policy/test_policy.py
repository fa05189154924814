"""The policy file: what is shipped is what the model says, and no typing error becomes a missing limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from countersign.policy import Policy, PolicyUnfitError, load

FOLDER = Path(__file__).parents[3] / "deploy/policy"


def test_the_shipped_file_writes_out_the_defaults() -> None:
    """Who reads the file sees every limit, and who leaves one out gets the same."""
    assert load(FOLDER / "default.yaml") == Policy(version="default-3")


def test_the_local_file_differs_where_it_says_so() -> None:
    """No gap and 1,000 texts; usable loopback; everything else as shipped."""
    local, shipped = load(FOLDER / "local.yaml"), load(FOLDER / "default.yaml")
    assert (local.texts.gap.total_seconds(), local.texts.number_hourly_max, local.texts.countries) == (0, 1000, None)
    changed = {"gap", "number_hourly_max", "number_daily_max", "account_hourly_base", "notices_daily_max", "countries"}
    assert {local.texts.number_daily_max, local.texts.account_hourly_base, local.texts.notices_daily_max} == {1000}
    assert local.texts.model_dump(exclude=changed) == shipped.texts.model_dump(exclude=changed)
    assert (local.requests, local.exports, local.switch) == (shipped.requests, shipped.exports, shipped.switch)
    assert local.places.model_copy(update={"unusable": shipped.places.unusable}) == shipped.places


def test_every_limit_has_a_source() -> None:
    """`make limits` prints name, value and source."""
    for name, value, source in Policy(version="1").limits():
        assert name.startswith("policy.")
        assert value
        assert len(source) > 10


def test_a_changed_value_changes_the_stamp() -> None:
    """Also where nobody raised the version."""
    assert Policy(version="1").stamp == Policy(version="1").stamp
    assert Policy(version="1").stamp != Policy.model_validate({"version": "1", "places": {"prefix_v6": 56}}).stamp


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": {"age_max": "PT11M"}},
        {"requests": {"age_max": "PT0S"}},
        {"requests": {"future_max": "-PT1S"}},
        {"requests": {"age_maximum": "PT1M"}},
        {"places": {"prefix_v4": 33}},
        {"places": {"prefix_v6": 65}},
        {"places": {"scope": "planet"}},
        {"places": {"unusable": ["10.0.0.1/8"]}},
        {"places": {"forget_after": "-P1D"}},
        {"texts": {"number_hourly_max": 0}},
        {"texts": {"countries": ["de"]}},
        {"texts": {"countries": [False]}},
        {"switch": {"members_need": "nothing"}},
        {"exports": {"hold": "PT73H"}},
        {"limits": {}},
    ],
)
def test_a_value_out_of_bounds_or_unknown_is_refused(wrong: dict[str, object]) -> None:
    """Each bound; `NO` without quotes is YAML's false and no country."""
    with pytest.raises(ValidationError):
        Policy.model_validate({"version": "1"} | wrong)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("version: [", "is not YAML"),
        ("", "file: "),
        ("texts: {gap: PT1S}", "version: Field required"),
        ("version: 1-1\nexports: {hold: PT99H}", "exports.hold: "),
    ],
)
def test_an_unfit_file_is_told_in_words(tmp_path: Path, text: str | None, says: str) -> None:
    """The engineer learns which file and which field."""
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PolicyUnfitError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)
