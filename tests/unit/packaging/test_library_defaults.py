"""No default of a library is longer than a deadline of ours without somebody having looked at it."""

from __future__ import annotations

import inspect

import pytest

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.consuming.membership import ANSWER_MS_MAX
from deploy.local.checkout import CHECKOUT
from tests.support.library_defaults import HIDDEN, REVIEWED, calls, seconds_of

CALLS = list(calls(CHECKOUT, "countersign", "services", "deploy"))


@pytest.mark.parametrize("name", REVIEWED)
def test_every_argument_of_a_client_was_looked_at(name: str) -> None:
    """A new version with a new argument stops here, until somebody says what it is."""
    reviewed = REVIEWED[name]
    known = reviewed.ours | reviewed.ours_in_a_group | set(reviewed.looked) | reviewed.rest
    assert set(inspect.signature(reviewed.client).parameters) - known == set()


@pytest.mark.parametrize("name", REVIEWED)
def test_every_default_that_we_keep_is_what_it_was_and_below_its_limit(name: str) -> None:
    """A new version with another default stops here; so does one that is longer than what depends on it."""
    parameters = inspect.signature(REVIEWED[name].client).parameters
    for argument, looked in REVIEWED[name].looked.items():
        assert seconds_of(argument, parameters[argument].default) == looked.seconds < looked.below, argument


@pytest.mark.parametrize("name", REVIEWED)
def test_what_looks_like_a_duration_is_not_among_the_rest(name: str) -> None:
    """Nobody puts a duration aside by mistake."""
    parameters = inspect.signature(REVIEWED[name].client).parameters
    for argument in REVIEWED[name].rest & set(parameters):
        assert not argument.endswith(("_ms", "_seconds", "_lifetime")), argument


@pytest.mark.parametrize("name", HIDDEN)
def test_a_default_that_no_argument_shows_is_what_it_was(name: str) -> None:
    """We set what stands in its place; a change of it is a reason to look again."""
    now, was = HIDDEN[name]
    assert now() == was


@pytest.mark.parametrize(
    ("name", "file", "keywords"), [(name, f"{file}:{line}", keywords) for name, file, line, keywords in CALLS]
)
def test_every_client_is_opened_with_deadlines_of_ours(name: str, file: str, keywords: frozenset[str]) -> None:
    """Each call passes what must not be left to the library."""
    reviewed = REVIEWED[name]
    if file.startswith(reviewed.without or "-"):
        return
    wanted = reviewed.ours | (reviewed.ours_in_a_group if "group_id" in keywords else frozenset())
    assert wanted - keywords == set(), file


def test_every_kind_of_client_is_found() -> None:
    """The search above sees what it is for."""
    assert {name for name, *_ in CALLS} == set(REVIEWED)


def test_the_cluster_is_looked_at_more_often_than_a_request_may_wait() -> None:
    """Chosen: 10 s at most."""
    assert METADATA_AGE_MS <= 10_000
    assert ANSWER_MS_MAX <= 10_000
