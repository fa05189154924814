"""Whether two versions of a contract can live side by side, judged by inclusion of JSON Schemas."""

from __future__ import annotations

import json
import warnings
import zlib
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    # Version 0.0.8 has an escape sequence and an import of jsonschema that are deprecated; newer ones there are none.
    warnings.simplefilter("ignore")
    from jsonsubschema import isSubschema

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = frozenset({"$schema", "$id", "title", "description", "default", "examples"})
_LENGTHS = frozenset({"minLength", "maxLength"})
_KIND = "(kind)"  # no field of ours: keeps the stand-in of a string and a real object apart
_STRING, _OBJECT = 1, 2


def broken(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what breaks when `after` takes the place of `before`: JSON Schemas by event type.

    Each side's writers are read by the other side's readers, as both run during a deployment and topics keep old
    records. Writers write no more than their schema names (closed); readers ignore what they do not know (open).
    """
    found = [f"{name}: is gone; its records are not" for name in sorted(before.keys() - after.keys())]
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if old == new:
            continue
        if not _reads(new, old):
            found.append(f"{name}: today's readers refuse what was written before")
        if not _reads(old, new):
            found.append(f"{name}: readers of before refuse what is written today")
    return found


def _reads(reader: Any, writer: Any) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return bool(isSubschema(_comparable(writer, closed=True), _comparable(reader, closed=False)))


def _comparable(schema: Any, *, closed: bool) -> Any:
    """Return the schema without words, and with its free strings in a form that inclusion is right about."""
    if isinstance(schema, list):
        return [_comparable(part, closed=closed) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "string" and "enum" not in schema:
        return _string(schema)
    kept = {name: _comparable(value, closed=closed) for name, value in schema.items() if name not in _WORDS}
    if schema.get("type") == "object":
        fields = {name: _comparable(part, closed=closed) for name, part in schema["properties"].items()}
        kept["properties"] = fields | _kind(_OBJECT)
        kept["required"] = [*schema.get("required", []), _KIND]
        kept["additionalProperties"] = not closed
    return kept


def _string(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Stand an object in for a string: bounds of its length, and a number that names its pattern and format.

    jsonsubschema 0.0.8 overlooks lengths beside equal patterns, knows no formats, and cannot read every pattern. This
    way a pattern includes itself alone, which errs on the safe side.
    """
    form = {name: part for name, part in schema.items() if name not in _WORDS | _LENGTHS | {"type"}}
    name = zlib.crc32(json.dumps(form, sort_keys=True).encode())
    length: dict[str, Any] = {"type": "integer", "minimum": schema.get("minLength", 0)}
    if "maxLength" in schema:
        length["maximum"] = schema["maxLength"]
    named = {"minimum": name, "maximum": name} if form else {}
    fields = {"length": length, "form": {"type": "integer"} | named} | _kind(_STRING)
    return {"type": "object", "properties": fields, "required": sorted(fields), "additionalProperties": False}


def _kind(number: int) -> dict[str, Any]:
    return {_KIND: {"type": "integer", "minimum": number, "maximum": number}}
