"""Secrets of a stack: those of any installation, with what only the stand-ins for Kafka and SNS need."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from countersign.operations import secret_files
from countersign.operations.secret_files import ROUTES, Secrets, bearer_of, read, with_dsns, with_logins, write

__all__ = ["ROUTES", "Secrets", "bearer_of", "draw", "read", "with_dsns", "with_logins", "write"]

_ACTIVE_FROM = datetime(2026, 1, 1, tzinfo=UTC)  # long before any stack: a first key needs no time to spread


def draw(before: Secrets | None = None) -> Secrets:
    """Draw the rings, peppers and bearers of a whole stack; what was drawn before stays as it is."""
    drawn = secret_files.draw(_ACTIVE_FROM, before)
    drawn["notifier"].setdefault("sns", {"access_key_id": "local", "secret_access_key": secrets.token_urlsafe(16)})
    for held in drawn.values():
        held.pop("kafka", None)  # whoever starts a Kafka that asks for it puts it in again
    return drawn
