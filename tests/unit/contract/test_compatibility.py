"""A changed contract must live beside the one before it: old records stay, and deployments overlap."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from countersign.contract import EVENTS
from countersign.contract.json_schema import schema_of
from countersign.contract.topic_files import schemas_folder
from tests.support.compatibility import broken

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTED = "countersign.access.requested.v1"
ASSESSED = "countersign.access.assessed.v1"
BASELINE = schemas_folder() / "baseline"


def today() -> dict[str, Any]:
    return {model.ce_type: schema_of(model) for model in EVENTS}


def test_todays_contract_lives_beside_the_released_one() -> None:
    """The baseline is what is out there. A change it cannot live with needs a new major version of the event."""
    baseline = {path.stem: json.loads(path.read_text("utf-8")) for path in BASELINE.glob("*.json")}
    assert baseline, "schemas/baseline is empty"
    assert broken(baseline, today()) == []


def drop(schema: dict[str, Any]) -> None:
    del schema["properties"]["digest"]
    schema["required"].remove("digest")


def rename(schema: dict[str, Any]) -> None:
    schema["properties"]["hash"] = schema["properties"].pop("digest")
    schema["required"][schema["required"].index("digest")] = "hash"


def require_more(schema: dict[str, Any]) -> None:
    schema["properties"]["device"] = {"type": "string"}
    schema["required"].append("device")


def require_what_was_optional(schema: dict[str, Any]) -> None:
    schema["required"].append("number_id")


def make_optional(schema: dict[str, Any]) -> None:
    schema["required"].remove("digest")


def change_type(schema: dict[str, Any]) -> None:
    schema["properties"]["digest"] = {"type": "integer"}


def change_pattern(schema: dict[str, Any]) -> None:
    schema["properties"]["digest"]["pattern"] = "^[0-9a-f]{64}$"


def change_format(schema: dict[str, Any]) -> None:
    schema["properties"]["user_id"] = {"type": "string"}


def forbid_null(schema: dict[str, Any]) -> None:
    schema["properties"]["number_id"] = {"type": "string", "format": "uuid"}


def add_a_word(schema: dict[str, Any]) -> None:
    schema["properties"]["action"]["enum"].append("pay")


def take_a_word(schema: dict[str, Any]) -> None:
    schema["properties"]["action"]["enum"].remove("export")


def shorten_a_text(schema: dict[str, Any]) -> None:
    schema["properties"]["summary"]["properties"]["what"]["anyOf"][0]["maxLength"] = 40


def lengthen_a_text(schema: dict[str, Any]) -> None:
    schema["properties"]["summary"]["properties"]["what"]["anyOf"][0]["maxLength"] = 240


def raise_a_bound(schema: dict[str, Any]) -> None:
    schema["properties"]["summary"]["properties"]["rows"]["anyOf"][0]["maximum"] = 10**13


def lift_a_bound(schema: dict[str, Any]) -> None:
    del schema["properties"]["summary"]["properties"]["what"]["anyOf"][0]["maxLength"]


def lift_a_pattern(schema: dict[str, Any]) -> None:
    del schema["properties"]["digest"]["pattern"]


def wrap(schema: dict[str, Any]) -> None:
    schema["properties"]["digest"] = {"type": "object", "properties": {"sha256": {"type": "string"}}}


def wrap_in_a_list(schema: dict[str, Any]) -> None:
    schema["properties"]["digest"] = {"type": "array", "items": schema["properties"]["digest"]}


def flatten(schema: dict[str, Any]) -> None:
    schema["properties"]["client"] = {"type": "string"}


PLANTED = [
    drop,
    rename,
    require_more,
    require_what_was_optional,
    make_optional,
    change_type,
    change_pattern,
    change_format,
    forbid_null,
    add_a_word,
    take_a_word,
    shorten_a_text,
    lengthen_a_text,
    raise_a_bound,
    lift_a_bound,
    lift_a_pattern,
    wrap,
    wrap_in_a_list,
    flatten,
]


@pytest.mark.parametrize("change", PLANTED, ids=lambda change: change.__name__)
def test_an_incompatible_change_is_found(change: Callable[[dict[str, Any]], None]) -> None:
    """Each would make somebody's reader refuse somebody's records."""
    before, after = today(), copy.deepcopy(today())
    change(after[REQUESTED])
    found = broken(before, after)
    assert [line.partition(":")[0] for line in found] == [REQUESTED] * len(found)
    assert found


def test_an_incompatible_element_of_a_list_is_found() -> None:
    """A new reason is refused by readers that do not know the word."""
    before, after = today(), copy.deepcopy(today())
    after[ASSESSED]["properties"]["reasons"]["items"]["enum"].append("moon.full")
    assert broken(before, after) == [f"{ASSESSED}: readers of before refuse what is written today"]


def test_a_longer_list_is_found() -> None:
    """Readers of before take at most 20 reasons."""
    before, after = today(), copy.deepcopy(today())
    after[ASSESSED]["properties"]["reasons"]["maxItems"] = 30
    assert broken(before, after) == [f"{ASSESSED}: readers of before refuse what is written today"]


def test_every_schema_can_be_judged() -> None:
    """Beside itself with another word in it: neither refused nor beyond what inclusion understands."""
    after = copy.deepcopy(today())
    for schema in after.values():
        schema["description"] = "Said in other words."
    assert broken(today(), after) == []


def test_an_event_that_is_gone_is_found() -> None:
    """Its records stay on the topic."""
    after = today()
    del after[REQUESTED]
    assert broken(today(), after) == [f"{REQUESTED}: is gone; its records are not"]


def test_an_optional_field_may_be_added() -> None:
    """At the top and inside: readers of before ignore it."""
    after = copy.deepcopy(today())
    after[REQUESTED]["properties"]["device"] = {"type": "string"}
    after[REQUESTED]["properties"]["client"]["properties"]["port"] = {"type": "integer"}
    assert broken(today(), after) == []


def test_an_event_may_be_added() -> None:
    """Readers of before learn of it in the topic's file, and until then it is off contract to them."""
    after = today()
    after["countersign.access.withdrawn.v1"] = after[REQUESTED]
    assert broken(today(), after) == []
