"""What of a record may be shown: ids and what decides; never a code, a signature, or what tells who somebody is."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from countersign.contract.topic_files import topic_files

HIDDEN = "•••"
# Whoever holds one of these has what it opens.
_SECRET = frozenset({"grant", "proof", "mac", "sealed_code"})
_IDS = ("_id",)


def masked(topic: str, value: bytes | None) -> dict[str, Any] | None:
    """Return the fields of a record with secrets and personal data hidden; None if it is no JSON object.

    Personal data are what the topic's file names; ids stay, as they are what one looks for.
    """
    try:
        fields = json.loads(value or b"null")
    except (ValueError, RecursionError):
        return None
    return _hidden(fields, _personal(topic), "") if isinstance(fields, dict) else None


def _hidden(fields: dict[str, Any], personal: frozenset[str], above: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        path = f"{above}{name}"
        if value is not None and (name in _SECRET or path in personal):
            shown[name] = HIDDEN
        elif isinstance(value, dict):
            shown[name] = _hidden(value, personal, f"{path}.")
        else:
            shown[name] = value
    return shown


@cache
def _personal(topic: str) -> frozenset[str]:
    return frozenset(
        name for each in topic_files() if each.topic == topic for name in each.personal_data if not name.endswith(_IDS)
    )
