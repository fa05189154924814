"""The AsyncAPI 3.0 document of all topics: who sends and receives what, with which headers and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from countersign.contract.topics import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.contract.topic_files import TopicFile
    from countersign.runtime.messages.cloudevents import Event

_VERSION = "1.0.0"  # of the contract, not of the package
_BINDING = "0.5.0"  # of the Kafka binding, https://github.com/asyncapi/bindings/tree/master/kafka
# What the binding knows by name; Kafka's other settings go beside it as an extension.
_LISTS = {"cleanup.policy"}
_NUMBERS = {"retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"}
_DESCRIPTION = """\
Step-up authentication: access requests go in, decisions come out.

Every record is a CloudEvent 1.0 in the binary mode of the Kafka protocol binding: the envelope in headers, the value
is the event's JSON alone. Readers ignore fields they do not know and go by the ids in the value, never by key or
partition.
"""


def document(topics: Sequence[TopicFile], examples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the document. `examples` are AsyncAPI message examples by ce_type; payload schemas lie in `json/`."""
    models = {model.ce_type: model for model in EVENTS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Countersign",
            "version": _VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "localhost:8100",
                "protocol": "kafka",
                "description": "The local stack of `make run`, with its default ports.",
            }
        },
        "channels": {topic.topic: _channel(topic, models) for topic in topics},
        "operations": {name: operation for topic in topics for name, operation in (*_sends(topic), *_receives(topic))},
        "components": {
            "schemas": {"envelope": _envelope()},
            "messages": {
                ce_type: _message(models[ce_type], topic.key, examples[ce_type])
                for topic in topics
                for ce_type in topic.events
            },
        },
    }


def _channel(topic: TopicFile, models: Mapping[str, type[Event]]) -> dict[str, Any]:
    known, others = _settings(topic.config)
    kafka: dict[str, Any] = {"partitions": topic.partitions, "topicConfiguration": known, "bindingVersion": _BINDING}
    return {
        "address": topic.topic,
        "description": topic.description,
        "messages": {
            models[ce_type].__name__: {"$ref": f"#/components/messages/{ce_type}"} for ce_type in topic.events
        },
        "bindings": {"kafka": kafka},
        "x-kafka-settings": others,
        "x-owner": topic.owner,
        "x-outside-readers": topic.outside_readers,
        "x-personal-data": topic.personal_data,
    }


def _settings(config: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    known: dict[str, Any] = {name: int(value) for name, value in config.items() if name in _NUMBERS}
    known |= {name: value.split(",") for name, value in config.items() if name in _LISTS}
    return known, {name: value for name, value in config.items() if name not in known}


def _sends(topic: TopicFile) -> list[tuple[str, dict[str, Any]]]:
    return [
        (
            f"{writer}.send.{topic.topic}",
            {
                "action": "send",
                "channel": {"$ref": f"#/channels/{topic.topic}"},
                "summary": f"{writer} writes {topic.topic}.",
                "tags": [{"name": writer}],
            },
        )
        for writer in topic.writers
    ]


def _receives(topic: TopicFile) -> list[tuple[str, dict[str, Any]]]:
    return [
        (
            f"{reader}.receive.{topic.topic}",
            {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{topic.topic}"},
                "summary": f"{reader} reads {topic.topic}.",
                "tags": [{"name": reader}],
                "bindings": {
                    "kafka": {
                        "groupId": {"type": "string", "const": f"countersign.{reader}"},
                        "bindingVersion": _BINDING,
                    }
                },
            },
        )
        for reader in topic.readers
    ]


def _message(model: type[Event], key: str, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    of_type = {"type": "object", "properties": {"ce_type": {"type": "string", "const": model.ce_type}}}
    return {
        "name": model.ce_type,
        "title": model.__name__,
        "summary": " ".join((model.__doc__ or "").split()),
        "contentType": "application/json",
        "headers": {"allOf": [{"$ref": "#/components/schemas/envelope"}, of_type]},
        "payload": {"$ref": f"./json/{model.ce_type}.json"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "format": "uuid", "description": f"The `{key}` of the value, as text."},
                "bindingVersion": _BINDING,
            }
        },
        "examples": [dict(example) for example in examples],
    }


def _envelope() -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "CloudEvents 1.0, Kafka protocol binding, section 3.2: values are UTF-8 text.",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"],
        "properties": {
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_id": text
            | {"description": "Names the event; ours is a uuid5 of the type and what the event is about."},
            "ce_source": text | {"description": "Who wrote it: a URI reference such as `/countersign/gateway`."},
            "ce_type": text | {"description": "`countersign.<name>.v<major>`: decides how the value is read."},
            "ce_time": text | {"format": "date-time", "description": "When it happened: RFC 3339 with an offset."},
            "content-type": {"type": "string", "const": "application/json"},
            "traceparent": text | {"description": "W3C Trace Context, passed on to what follows. Optional."},
        },
    }
