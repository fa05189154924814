"""What a producer has to change, for each fault that a reader finds. No sentence quotes a value of the message."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from countersign.runtime.messages.cloudevents import Event

_EPOCH = re.compile(r"\d{9,19}(\.\d+)?")
_NO_ZONE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?")
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_DIGEST_LENGTH = 43
_BINARY = (
    (b"\xff\xfe", "it is UTF-16: encode the JSON as UTF-8"),
    (b"\xfe\xff", "it is UTF-16: encode the JSON as UTF-8"),
    (b"\x1f\x8b", "it is gzip: publish the JSON itself; the producer's compression.type compresses batches"),
    (b"\x00", "it begins with a schema registry's prefix: publish the JSON alone, with a plain byte serializer"),
)
_REPAIRS = {
    "content-type": "send the header content-type: application/json",
    "ce_id": "send the header ce_id with an id of the event; the request's id will do",
    "ce_source": "send the header ce_source with who you are, such as /platform/login",
    "traceparent": "send a W3C trace context, 00-<32 hex>-<16 hex>-<2 hex>, or leave traceparent out",
    "client.ip": "send the address alone, such as 203.0.113.7 or 2001:db8::1, or null if you cannot vouch for one",
    "client.locale": "send one BCP 47 tag with hyphens, such as en-AU, or null",
    "locale": "send one BCP 47 tag with hyphens, such as en-AU, or null",
    "client": "send an object with ip and locale, each of which may be null",
    "summary": "send an object; for a log-in it is empty",
    "summary.rows": "send a whole number without quotes, or leave rows out",
    "name": "send the name as a JSON string of 1 to 200 characters without control characters",
    "value": "write UTF-8 without a byte order mark, and cut strings at whole characters",
}


def mend_of_repair(field: str) -> str:
    """Return what a producer changes so that a field need not be repaired."""
    return _REPAIRS.get(field, "send a JSON string of at most 200 characters without control characters")


def mend_of_header(name: str, headers: Mapping[str, bytes], model: type[Event]) -> str:
    """Return how to mend a header that the reader refused."""
    near = near_header(name, headers)
    if name not in headers and near is not None:
        return f"rename the header {near} to {name}: Kafka's binding writes ce_ in lower case, HTTP's writes ce-"
    text = headers.get(name, b"").decode("utf-8", "replace")
    match name:
        case "content-type":
            return (
                "put the envelope into ce_ headers, publish `data` alone as the value, and send content-type: "
                "application/json"
            )
        case "ce_type":
            return f"send ce_type: {model.ce_type}"
        case "ce_specversion":
            return "send ce_specversion: 1.0"
        case "ce_time" if text:
            return _mend_time(text)
        case _:
            return f"send {name}: when it happened, such as 2026-03-02T09:00:00Z"


def near_header(name: str, headers: Iterable[str]) -> str | None:
    """Return a header that was probably meant as this one: ce-type, ce_Type, CE-TYPE, type, ce_spec_version."""
    bare = _bare(name)
    return next((each for each in headers if each != name and _bare(each) in {bare, bare.removeprefix("ce")}), None)


def mend_of_value(  # noqa: C901, PLR0911 - one line a kind of fault
    finding: Mapping[str, Any], model: type[Event], value: bytes
) -> str:
    """Return how to mend what pydantic found: one of `ValidationError.errors()` of this value."""
    kind, came = str(finding["type"]), finding["input"]
    names = [str(part) for part in finding["loc"]]
    if not names:
        return _mend_json(value, came)
    match kind:
        case "missing":
            return _mend_missing(names[-1], came, model)
        case "literal_error" | "enum":
            return _mend_word(names[-1], came, str(finding["ctx"]["expected"]))
        case _ if came is None:
            return f"give {names[-1]} a value: null does not do here"
        case "uuid_parsing" | "uuid_type":
            return _mend_uuid(came, nullable=names[-1] == "number_id")
        case "string_pattern_mismatch" if names[-1] == "digest":
            return _mend_digest(came)
        case "int_type" | "int_from_float":
            return f"send {names[-1]} as a JSON integer, without quotes and without a fraction"
        case "bool_type":
            return f"send {names[-1]} as true or false, without quotes"
        case "string_type":
            return f"send {names[-1]} as a JSON string, in quotes"
        case "string_too_long":
            return f"shorten {names[-1]}"
        case "greater_than_equal" | "less_than_equal" | "int_parsing_size":
            return f"send {names[-1]} within the bounds of the JSON Schema of {model.ce_type}"
        case _:
            return f"send {names[-1]} as the JSON Schema of {model.ce_type} says"


def unknown_fields(fields: Mapping[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """Return each field that the contract does not have, with what is probably meant."""
    known = set(model.model_fields)
    found = {}
    for name in fields.keys() - known:
        meant = next((each for each in known if _bare(each) == _bare(name)), None)
        near = [meant] if meant else get_close_matches(name, known, 1)
        found[name] = f"rename it to {near[0]}" if near else "leave it out, or put it into the field that it belongs to"
    return dict(sorted(found.items()))


def mend_of_key(key: bytes | None, wanted: str, field: str, ids: Mapping[str, str]) -> str:
    """Return what is wrong with a record's key. `ids` are the event's ids by field."""
    mend = f"send {field} as text, 36 characters in lower case, as the key"
    if not key:
        return f"key: missing, so an account's records go to any partition and lose their order; {mend}"
    text = key.decode("utf-8", "replace")
    other = next((name for name, value in ids.items() if value == text.strip('"').lower() and value != wanted), None)
    if other is not None:
        return f"key: it is {other}, and readers rely on the order of {field}; {mend}"
    if text.strip().strip('"').lower() == wanted:
        return f"key: it is {field} in another form (quotes, blanks or capitals), which is another partition; {mend}"
    return f"key: it is not {field}, so the records of one {field.removesuffix('_id')} lose their order; {mend}"


def _bare(name: str) -> str:
    return re.sub(r"[-_: ]", "", name).lower()


def _mend_time(text: str) -> str:
    if _EPOCH.fullmatch(text.strip()):
        return "it counts seconds or milliseconds: write RFC 3339, such as 2026-03-02T09:00:00Z"
    if _NO_ZONE.fullmatch(text.strip()):
        return "it has no zone: add Z if it is UTC, or its offset, such as +10:00"
    return "write RFC 3339 with an offset, such as 2026-03-02T09:00:00Z"


def _mend_json(value: bytes, came: object) -> str:  # noqa: PLR0911 - one line a kind of fault
    if not value.strip():
        return "the value is empty: publish the event's JSON object"
    for prefix, mend in _BINARY:
        if value.startswith(prefix):
            return mend
    if b"\x00" in value[:8]:
        return "it is UTF-16: encode the JSON as UTF-8"
    match came:
        case list():
            return "it is an array: publish each event as a record of its own"
        case str() if _is_json(came):
            return "it is JSON inside of a JSON string: it was encoded twice, encode it once"
        case None:
            return "it is null: publish the event's JSON object, or no record"
    if value.lstrip().startswith((b"{'", b"{u'")):
        return "it has single quotes: write JSON with a JSON encoder"
    return "publish the event's JSON object alone, in UTF-8"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return text.lstrip()[:1] in {"{", "["}


def _mend_missing(name: str, came: object, model: type[Event]) -> str:
    given = came if isinstance(came, dict) else {}
    meant = next((each for each in given if each not in model.model_fields and _bare(each) == _bare(name)), None)
    if meant is not None:
        return f"rename {meant} to {name}: names are written with underscores"
    field = model.model_fields.get(name)
    words = (field.description or "").partition(". ")[0].rstrip(".") if field else ""
    return f"add {name}" + (f": {words[0].lower()}{words[1:]}" if words else "")


def _mend_word(name: str, came: object, expected: str) -> str:
    words = re.findall(r"'([^']+)'", expected)
    text = came.strip().lower().replace("-", "_") if isinstance(came, str) else ""
    near = [text] if text in words else get_close_matches(text, words, 1)
    if text in words and isinstance(came, str) and came != came.strip():
        return f"drop the blanks around {name}"
    return f"write {name} as {near[0]}, in lower case" if near else f"write {name} as one of {', '.join(words)}"


def _mend_uuid(came: object, *, nullable: bool) -> str:
    if not isinstance(came, str):
        return "send it as a JSON string: a UUID of 36 characters in quotes"
    if came.strip() != came and came.strip():
        return "drop the blanks around it"
    if not came.strip() and nullable:
        return "send null or leave it out"
    return "send a UUID with its hyphens, 36 characters, such as 019cadf4-6e80-7c01-8000-000000000001"


def _mend_digest(came: object) -> str:
    text = came if isinstance(came, str) else ""
    if _HEX_DIGEST.fullmatch(text):
        return "it is hexadecimal: send the 32 bytes as base64url, 43 characters"
    if text.strip() != text:
        return "drop the blanks and line ends around it"
    if "+" in text or "/" in text:
        return "it is base64: send base64url, with - for + and _ for /, and without = at its end"
    if len(text.rstrip("=")) == _DIGEST_LENGTH:
        return "drop the = at its end"
    return "send base64url of the 32 bytes of a SHA-256, 43 characters without ="
