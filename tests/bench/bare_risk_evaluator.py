"""The risk-evaluator by hand: two statements a batch, a MAC and a record each."""

from __future__ import annotations

import asyncio
import hmac
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from countersign.contract import base64url
from services.risk_evaluator.store import LOAD, SAVE
from tests.bench.bare import out, secret_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.bench.bare import Bare, Out

_FORGET_AFTER, _FOR_EVER = timedelta(days=90), timedelta(0)


class Evaluate:
    """A login from a known place is allowed, any other challenged."""

    topics = ("access.requests.v1",)

    def __init__(self, asked: argparse.Namespace) -> None:
        self._key_id, self._secret = secret_of(asked, "assessment_keys")

    async def fold(self, db: Any, topic: str, values: Sequence[dict[str, Any]], keys: Sequence[bytes]) -> list[Out]:
        """Load, decide, save."""
        del topic, keys
        ids = [UUID(value["request_id"]) for value in values]
        accounts, users = [UUID(v["account_id"]) for v in values], [UUID(v["user_id"]) for v in values]
        places = [f"{value['client']['ip']}/32" for value in values]
        numbers = [None] * len(values)
        rows = await db.fetch(LOAD, ids, accounts, users, places, numbers, _FORGET_AFTER, True, _FOR_EVER)
        now, known = rows[0]["now"], {row["request_id"]: row["place_known"] for row in rows}
        new = [i for i, row in enumerate(rows) if row["digest"] is None]
        if not new:
            return []
        outcomes = ["allow" if known[ids[i]] else "challenge" for i in new]
        reasons = ["ip.known" if known[ids[i]] else "ip.new" for i in new]
        stored = await db.fetch(
            SAVE,
            [ids[i] for i in new],
            [accounts[i] for i in new],
            [users[i] for i in new],
            [values[i]["action"] for i in new],
            [values[i]["digest"] for i in new],
            [places[i] for i in new],
            [known[ids[i]] for i in new],
            outcomes,
            reasons,
            ["bench"] * len(new),
            [now] * len(new),
            [None] * len(new),
        )
        first = {row["request_id"] for row in stored}
        return [
            self._out(values[i], outcome, reason, places[i], known[ids[i]], now)
            for i, outcome, reason in zip(new, outcomes, reasons, strict=True)
            if ids[i] in first
        ]

    def _out(self, value: dict[str, Any], outcome: str, reason: str, place: str, known: bool, now: Any) -> Out:
        assessed = value | {
            "outcome": outcome,
            "reasons": [reason],
            "place": place,
            "place_known": known,
            "policy_version": "bench",
            "requested_at": now.isoformat(),
            "key_id": self._key_id,
        }
        covered = json.dumps(assessed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assessed["mac"] = base64url(hmac.digest(self._secret, covered, "sha256"))
        return out("access.assessments.v1", "countersign.access.assessed.v1", value["request_id"], assessed, now)

    def committed(self, values: Sequence[dict[str, Any]]) -> None:
        """Wake nobody."""

    async def beside(self, bare: Bare) -> None:
        """Do nothing."""
        del bare
        await asyncio.Event().wait()
