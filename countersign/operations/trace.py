"""The story of a request over all services: every step with its time, and in a sentence what became of it and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from uuid import UUID

    import asyncpg

READABLE = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = 'timeline' AND c.relkind = 'v' AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY n.nspname
"""
STEPS = """
SELECT request_id, challenge_id, account_id, user_id, at, what, detail::text AS detail FROM {schema}.timeline
 WHERE request_id = ANY($1::uuid[]) OR challenge_id = ANY($2::uuid[])
"""
NAMED = """
SELECT request_id, challenge_id FROM {schema}.timeline
 WHERE challenge_id IS NOT NULL AND request_id IS NOT NULL AND (request_id = $1 OR challenge_id = $1)
"""
RECENT = """
SELECT request_id, max(at) AS last FROM {schema}.timeline
 WHERE request_id IS NOT NULL AND ($1 = 'user' AND user_id = $2 OR $1 = 'account' AND account_id = $2)
   AND at > now() - $3::interval
 GROUP BY request_id ORDER BY last DESC LIMIT $4
"""
# What belongs to no request: settings that were changed, by whom.
CHANGES = """
SELECT request_id, challenge_id, account_id, user_id, at, what, detail::text AS detail FROM {schema}.timeline
 WHERE request_id IS NULL AND challenge_id IS NULL
   AND ($1 = 'user' AND user_id = $2 OR $1 = 'account' AND account_id = $2)
   AND at > now() - $3::interval
 ORDER BY at DESC LIMIT $4
"""

# What a person is told of each reason; the reason itself stands behind it.
_DENIED: Mapping[str, str] = {
    "request.stale": "the request was read too late",
    "request.future": "the producer's clock is ahead",
    "member.unknown": "the user is no member of the account",
    "number.missing": "the user has no number that a code could go to",
    "number.unknown": "the number that was named is not the user's, or not theirs any more",
    "number.replaced": "the number was replaced, or the user removed, while the code was on its way",
    "number.recent": "exports are held, as a number or the setting changed a short while ago",
    "code.expired": "no right code was entered in time",
    "code.exhausted": "wrong codes used up the tries",
    "sms.refused": "the provider refused the text",
    "sms.suppressed": "no text was sent: a text limit was reached, its country is not served, or texts are stopped",
    "cancelled": "somebody cancelled it, or a newer challenge took its place",
    "locked": "too many wrong codes in a row: the user has to wait",
}
# Why a text was suppressed, in the notifier's words, as its limits count.
_SUPPRESSED: Mapping[str, str] = {
    "paused": "texts are stopped (see `countersign texts status`)",
    "country": "texts to the country of that number are not sent",
    "number.gap": "another text to that number had just been sent",
    "number.hour": "that number had got as many texts in an hour as are allowed",
    "number.day": "that number had got as many texts in a day as are allowed",
    "account.hour": "the account had got as many texts in an hour as are allowed",
    "late": "the code would have come too late to be entered",
}
_ALLOWED: Mapping[str, str] = {
    "ip.known": "the account has used this address before",
    "two_factor.off": "two-factor is off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened, as a service published it."""

    service: str
    at: datetime
    what: str
    detail: Mapping[str, Any]
    request_id: UUID | None
    challenge_id: UUID | None
    account_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to one request, oldest first."""

    steps: tuple[Step, ...] = field(default=())

    def last(self, what: str) -> Step | None:
        """Return the last step of that name."""
        return next((step for step in reversed(self.steps) if step.what == what), None)

    def gaps(self) -> list[timedelta | None]:
        """Return for each step how long after the one before it happened; None for the first."""
        return [None, *(later.at - step.at for step, later in zip(self.steps, self.steps[1:], strict=False))]


def outcome_of(story: Story, now: datetime) -> str:
    """Return in a sentence what became of the request and why."""
    if not story.steps:
        return "No service knows it. It may be a dead letter (countersign why), or it was never published."
    if (denied := story.last("denied")) is not None:
        return _denied(story, denied)
    if (granted := story.last("granted")) is not None:
        return _granted(story, granted)
    if (challenged := story.last("challenged")) is not None:
        left = int(challenged.detail["attempts_max"]) - int(challenged.detail["attempts"])
        number, until = challenged.detail["number"], _moment(challenged.detail["expires_at"])
        tries = "1 try is" if left == 1 else f"{left} tries are"
        return f"Waits for the code that goes to {number}, until {until}; {tries} left.{_text_state(story)}"
    if story.last("taken") is not None:
        return "The verifier took it in and has not decided it: this should take no longer than a moment."
    waited = (now - story.steps[-1].at).total_seconds()
    return f"Assessed, and the verifier has not read that for {waited:.0f} s: see countersign lag."


def _denied(story: Story, denied: Step) -> str:
    reason = str(denied.detail.get("reason"))
    again = denied.detail.get("retry_at")
    later = f" A new request may fare better from {_moment(again)}." if again else ""
    issued = story.last("text.issued")
    suppressed = None if issued is None else _SUPPRESSED.get(str(issued.detail.get("reason")))
    if reason == "sms.suppressed" and suppressed is not None:
        return f"Denied: no text was sent, as {suppressed} ({reason}).{later}"
    return f"Denied: {_DENIED.get(reason, reason)} ({reason}).{_text_state(story)}{later}"


def _granted(story: Story, granted: Step) -> str:
    if not granted.detail.get("with_code"):
        assessed = story.last("assessed")
        reasons = [] if assessed is None else [str(one) for one in assessed.detail.get("reasons", ())]
        why = next((f": {_ALLOWED[one]} ({one})" for one in reasons if one in _ALLOWED), "")
        return f"Granted without a code{why}."
    tries = sum(step.what == "answered" for step in story.steps)
    issued = story.last("text.issued")
    after = "" if issued is None else f", {(granted.at - issued.at).total_seconds():.0f} s after its text was issued"
    return f"Granted with a code at try {max(tries, 1)}{after}."


def _moment(written: object) -> str:
    """Return a time of a step's detail as people read it, and what is none as it is."""
    try:
        return f"{datetime.fromisoformat(str(written)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return str(written)


def _text_state(story: Story) -> str:
    issued = story.last("text.issued")
    if issued is None:
        return ""
    state, reason = issued.detail.get("state"), issued.detail.get("reason")
    return f" Its last text: {state}{f' ({reason})' if reason else ''}."


class Traces:
    """Reads the views `timeline` that the services publish to the role `operator`."""

    def __init__(self, db: asyncpg.Connection, schemas: Sequence[str]) -> None:
        self._db = db
        self._schemas = schemas

    @classmethod
    async def readable(cls, db: asyncpg.Connection) -> Traces:
        """Return the views that this role may read."""
        return cls(db, [row["nspname"] for row in await db.fetch(READABLE)])

    @property
    def schemas(self) -> Sequence[str]:
        """Whose views are read."""
        return self._schemas

    async def story(self, any_id: UUID) -> Story:
        """Return the story of a request, by its id or its challenge's."""
        requests, challenges = {any_id}, {any_id}
        for schema in self._schemas:
            for row in await self._db.fetch(NAMED.format(schema=schema), any_id):
                requests.add(row["request_id"])
                challenges.add(row["challenge_id"])
        steps: list[Step] = []
        for schema in self._schemas:
            rows = await self._db.fetch(STEPS.format(schema=schema), list(requests), list(challenges))
            steps += _steps(schema, rows)
        return _story(steps)

    async def changes(self, of: Literal["user", "account"], id_: UUID, within: timedelta, most: int) -> Story:
        """Return the latest changes of a user's or an account's settings."""
        steps: list[Step] = []
        for schema in self._schemas:
            steps += _steps(schema, await self._db.fetch(CHANGES.format(schema=schema), of, id_, within, most))
        return Story(_story(steps).steps[-most:])

    async def recent(self, of: Literal["user", "account"], id_: UUID, within: timedelta, most: int) -> list[UUID]:
        """Return the latest requests of a user or an account, the newest first."""
        last: dict[UUID, datetime] = {}
        for schema in self._schemas:
            for row in await self._db.fetch(RECENT.format(schema=schema), of, id_, within, most):
                last[row["request_id"]] = max(row["last"], last.get(row["request_id"], row["last"]))
        return sorted(last, key=lambda one: last[one], reverse=True)[:most]


def _steps(schema: str, rows: Sequence[asyncpg.Record]) -> list[Step]:
    return [Step(service=schema, **{**dict(row), "detail": json.loads(row["detail"])}) for row in rows]


def _story(steps: Sequence[Step]) -> Story:
    return Story(tuple(sorted(steps, key=lambda step: step.at)))
