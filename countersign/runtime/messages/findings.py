"""What is wrong with a message, in words that name the field and quote no value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

_EXPECTED = {
    "json_invalid": "expected JSON ({error})",
    "model_type": "expected a JSON object",
    "uuid_parsing": "expected a UUID",
    "uuid_type": "expected a UUID",
    "string_type": "expected a string",
    "string_pattern_mismatch": "expected a string that matches {pattern}",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} characters",
    "too_long": "expected a length of at most {max_length}",
    "too_short": "expected a length of at least {min_length}",
    "datetime_type": "expected an RFC 3339 time with its offset",
    "timezone_aware": "expected an RFC 3339 time with its offset",
    "int_type": "expected an integer",
    "int_parsing_size": "expected a smaller integer",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "bool_type": "expected true or false",
    "list_type": "expected an array",
    "literal_error": "expected one of {expected}",
    "enum": "expected one of {expected}",
    "value_error": "{error}",
}


_SNAKE = re.compile("_([a-z])")


def findings(error: ValidationError) -> list[str]:
    """Say in words what is wrong: field, expectation, and the shape (never the content) of what came; three at most."""
    return [finding_words(finding) for finding in error.errors(include_url=False)[:3]]


def finding_words(finding: Any) -> str:
    """Say one error of a ValidationError in words."""
    kind = str(finding["type"])
    where = ".".join(str(part) for part in finding["loc"]) or "value"
    if kind == "missing":
        camel = _SNAKE.sub(lambda found: found[1].upper(), str(finding["loc"][-1]))
        came = finding["input"]
        return f"{where}: missing" + (f"; came {camel}" if isinstance(came, dict) and camel in came else "")
    expected = _EXPECTED.get(kind, f"is not as the schema says ({kind})").format(**finding.get("ctx", {}))
    return f"{where}: {expected}; came {told(finding['input'])}"


def told(value: object) -> str:  # noqa: PLR0911 - one line a shape
    """Return the shape of a value, never its content."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction"
        case bytes():
            return counted(len(value), "byte")
        case str():
            return f"a string of {counted(len(value), 'character')}"
        case dict():
            return f"an object of {counted(len(value), 'field')}"
        case list() | tuple():
            return f"an array of {counted(len(value), 'item')}"
        case _:
            return f"a {type(value).__name__}"


def counted(count: int, noun: str) -> str:
    """Return the number with its noun in the right form."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
