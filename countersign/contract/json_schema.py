"""A JSON Schema per event, for readers in any language: open to fields that come later, complete in itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.messages.cloudevents import Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(model: type[Event]) -> dict[str, Any]:
    """Return the schema of an event's value. No references: every tool can read it, old ones too."""
    generated = model.model_json_schema(mode="validation")
    parts = generated.pop("$defs", {})
    whole = _inlined(generated, parts)
    return {
        "$schema": DIALECT,
        "$id": f"urn:countersign:schema:{model.ce_type}",
        "title": model.ce_type,
        "description": " ".join(str(whole.pop("description")).split()),
        **{name: part for name, part in whole.items() if name != "title"},
    }


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    """Put parts in place of references, and leave out the titles that only repeat a field's name."""
    if isinstance(schema, list):
        return [_inlined(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        part = parts[schema["$ref"].rpartition("/")[2]]
        return _inlined(part | {name: value for name, value in schema.items() if name != "$ref"}, parts)
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":
            kept[name] = {field: _inlined(part, parts) for field, part in value.items()}
        elif name != "title":
            kept[name] = _inlined(value, parts)
    return kept
