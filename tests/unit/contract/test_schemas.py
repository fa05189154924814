"""`schemas/` against the models, both ways."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from countersign.contract import EVENTS, TYPES_OF, examples, schemas
from countersign.contract.topic_files import TopicFile, schemas_folder, topic_files

if TYPE_CHECKING:
    from countersign.runtime.messages.cloudevents import Event

ROOT = Path(__file__).parents[3]
BY_TYPE = {model.ce_type: model for model in EVENTS}
DAY = 24 * 60 * 60 * 1000


def test_what_is_committed_is_what_the_models_make() -> None:
    """`make schemas` was run after the last change."""
    assert schemas.differences(schemas_folder(), schemas.made()) == []


def test_a_missing_a_changed_and_a_left_over_file_are_told(tmp_path: Path) -> None:
    """The check can fail, and writing mends it."""
    files = schemas.made()
    schemas.write(tmp_path, files)
    name = "json/countersign.access.requested.v1.json"
    (tmp_path / name).write_text("{}", "utf-8")
    (tmp_path / "asyncapi.yaml").unlink()
    (tmp_path / "json" / "countersign.access.withdrawn.v1.json").write_text("{}", "utf-8")
    assert schemas.differences(tmp_path, files) == [
        "asyncapi.yaml: is missing",
        f"{name}: differs from the models",
        "json/countersign.access.withdrawn.v1.json: nothing makes it any more",
    ]
    schemas.write(tmp_path, files)
    assert schemas.differences(tmp_path, files) == []


def test_a_release_makes_todays_schemas_the_baseline(tmp_path: Path) -> None:
    """And takes away those of events that are gone."""
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "countersign.access.withdrawn.v1.json").write_text("{}", "utf-8")
    schemas.release(tmp_path, schemas.made())
    assert {path.stem for path in (tmp_path / "baseline").iterdir()} == BY_TYPE.keys()


def test_every_event_is_in_one_topics_file_and_the_other_way_round() -> None:
    """The file's list is what readers take as known."""
    listed = [ce_type for topic in topic_files() for ce_type in topic.events]
    assert sorted(listed) == sorted(BY_TYPE)
    assert {topic.topic: frozenset(topic.events) for topic in topic_files()} == TYPES_OF


@pytest.mark.parametrize("topic", topic_files(), ids=lambda topic: topic.topic)
def test_a_topics_key_and_personal_data_are_fields_of_its_events(topic: TopicFile) -> None:
    """Whoever changes a field must look at what the file says of it."""
    models = [BY_TYPE[ce_type] for ce_type in topic.events]
    for model in models:
        assert topic.key in model.model_fields
    for path in topic.personal_data:
        assert any(_has(model, path) for model in models), path


@pytest.mark.parametrize("topic", topic_files(), ids=lambda topic: topic.topic)
def test_a_records_key_is_what_its_topics_file_says(topic: TopicFile) -> None:
    """All events of one topic are keyed alike."""
    for ce_type in topic.events:
        for example in (each for each in examples.all_examples() if each.event.ce_type == ce_type):
            assert example.record().key.decode() == str(getattr(example.event, topic.key))


def test_topics_are_kept_as_long_as_designed() -> None:
    """LogAppendTime and unpacked everywhere: a request's age and size must not be the producer's word alone."""
    kept = {topic.topic: topic.config.get("retention.ms") for topic in topic_files()}
    assert kept == {
        "access.requests.v1": str(7 * DAY),
        "access.assessments.v1": str(7 * DAY),
        "access.challenges.v1": str(DAY),
        "access.decisions.v1": str(30 * DAY),
        "sms.deliveries.v1": str(30 * DAY),
        "account.members.v1": None,
        "account.settings.v1": str(365 * DAY),
    }
    assert {topic.config["message.timestamp.type"] for topic in topic_files()} == {"LogAppendTime"}
    assert {topic.config["compression.type"] for topic in topic_files()} == {"uncompressed"}
    assert {topic.partitions for topic in topic_files()} == {12}
    members = next(topic for topic in topic_files() if topic.topic == "account.members.v1")
    assert members.config["cleanup.policy"] == "compact"
    assert members.config["delete.retention.ms"] == str(30 * DAY)


def test_only_the_verifier_writes_decisions() -> None:
    """It alone holds the key that signs grants."""
    decisions = next(topic for topic in topic_files() if topic.topic == "access.decisions.v1")
    assert decisions.writers == ["verifier"]


@pytest.mark.parametrize("topic", topic_files(), ids=lambda topic: topic.topic)
def test_a_topics_readers_are_the_services_that_read_it(topic: TopicFile) -> None:
    """By the models that each service picks: in its folds, or in a command for which the topic is `checked_by` it."""
    reading = {service for service in _services() if topic.topic in _topics_read_by(service)}
    assert set(topic.readers) <= reading <= {*topic.readers, *topic.checked_by}


def test_a_file_that_is_off_its_form_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path and by what is wrong."""
    (tmp_path / "topics").mkdir()
    path = tmp_path / "topics" / "access.requests.v1.yaml"
    path.write_text("topic: access.requests.v1\ndescription: 7\n", "utf-8")
    monkeypatch.setattr("countersign.contract.topic_files.schemas_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"access\.requests\.v1\.yaml: description: expected a string"):
        topic_files.__wrapped__()


@pytest.mark.parametrize("model", EVENTS, ids=lambda model: model.ce_type)
def test_a_schema_stays_open_and_says_what_each_field_is(model: type[Event]) -> None:
    """Open: fields may be added. No references: every tool reads it."""
    schema = json.loads(schemas.made()[f"json/{model.ce_type}.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "$ref" not in json.dumps(schema)
    assert "additionalProperties" not in json.dumps(schema)
    assert schema["description"]
    assert [name for name, part in schema["properties"].items() if "description" not in part] == []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    """Inside the document and to the JSON Schemas beside it."""
    document = yaml.safe_load(schemas.made()["asyncapi.yaml"])
    references = list(_references(document))
    assert references
    for reference in references:
        if reference.startswith("#/"):
            assert _at(document, reference), reference
        else:
            assert reference.removeprefix("./") in schemas.made(), reference


def test_the_asyncapi_document_shows_who_sends_and_receives() -> None:
    """One operation per topic and service, in the group that the service uses."""
    document = yaml.safe_load(schemas.made()["asyncapi.yaml"])
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"].keys() == TYPES_OF.keys()
    wanted = {f"{each}.send.{topic.topic}" for topic in topic_files() for each in topic.writers}
    wanted |= {f"{each}.receive.{topic.topic}" for topic in topic_files() for each in topic.readers}
    assert document["operations"].keys() == wanted
    receives = document["operations"]["verifier.receive.access.assessments.v1"]
    assert receives["bindings"]["kafka"]["groupId"]["const"] == "countersign.verifier"


def _has(model: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    field = model.model_fields.get(name)
    return field is not None and (not rest or _has(field.annotation, rest))


def _services() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "services").glob("*/__main__.py"))


def _topics_read_by(service: str) -> set[str]:
    """Return the topics that the service reads: by events given to `reader(...)`, or by an event's `.topic`."""
    models = {model.__name__: model.topic for model in EVENTS}
    read = set()
    for path in (ROOT / "services" / service).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) == "reader":
                read |= {models[name] for name in map(_name, node.args) if name in models}
            elif isinstance(node, ast.Attribute) and node.attr == "topic" and _name(node.value) in models:
                read.add(models[_name(node.value)])
    return read


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _references(part: Any) -> Any:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _at(document: Any, reference: str) -> Any:
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document
