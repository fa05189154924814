"""Enrolment as tests see it: its role's connection, grants that fit, and what is stored of an account."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from prometheus_client import Counter

from countersign.contract import Summary
from countersign.contract.number import NONCE_BYTES, fingerprint_of, parse_number, seal_number
from countersign.runtime.folding.fold import absorb, rounds
from countersign.runtime.messages.cloudevents import Event
from services.enrolment import decide
from services.enrolment.fold import DecisionsFold, MembersFold
from services.enrolment.model import OwnRequest
from services.enrolment.settings import EnrolmentSettings
from tests.support.events import a_member_set, clock, incoming
from tests.support.grants import REQ, Signer, claims_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.client import Grants
    from countersign.contract import MemberSet
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Incoming, Outgoing
    from tests.support.servers import Servers

NUMBER = "+61491570006"
HOLD = timedelta(hours=24)
KEY, FINGERPRINT_KEY = secrets.token_bytes(32), secrets.token_bytes(32)

ADD_NUMBER = """
INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at,
                          confirmed_at, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, 'test-1', $7, now() - $8::interval,
        CASE WHEN $3 = 'confirmed' THEN now() END, CASE WHEN $3 IN ('replaced', 'reset') THEN now() - $9::interval END)
"""

ADD_REQUEST = """
INSERT INTO request (request_id, account_id, user_id, action, digest, summary, member_id, member_fingerprint, req,
                     opened_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())
"""

# Everything that is stored of an account, so that two looks can be compared.
STORED = (
    "SELECT * FROM account WHERE account_id = $1",
    "SELECT * FROM member WHERE account_id = $1 ORDER BY user_id",
    "SELECT n.* FROM phone_number n JOIN member m USING (user_id) WHERE m.account_id = $1 ORDER BY n.number_id",
    "SELECT * FROM setting_change WHERE account_id = $1 ORDER BY version",
    "SELECT * FROM request WHERE account_id = $1 ORDER BY request_id",
    "SELECT s.* FROM spent_grant s JOIN request r USING (request_id) WHERE r.account_id = $1 ORDER BY s.request_id",
)


def settings_of(servers: Servers, **over: Any) -> EnrolmentSettings:
    """Return the settings of a service under test, its secrets those that the other services were given."""
    held = servers.secrets["enrolment"]
    fields: dict[str, Any] = {
        **held,
        "kafka": {"bootstrap_servers": servers.kafka},
        "instance": "test-enrolment",
        "policy_file": "deploy/policy/local.yaml",
        "jwks_url": "http://127.0.0.1:9/jwks.json",
    }
    return EnrolmentSettings(**(fields | over))


@dataclass
class Desk:
    """The two folds on a connection of enrolment's role, without Kafka: `fold` is what a worker does with a batch."""

    db: Connection
    grants: Grants
    signer: Signer
    members: MembersFold = field(init=False)
    decisions: DecisionsFold = field(init=False)

    def __post_init__(self) -> None:
        self.members = MembersFold(self.grants, None, Counter("members", "Test.", ("became",), registry=None))
        self.decisions = DecisionsFold(self.grants, HOLD)

    async def fold(self, *events: Event | Incoming[Any]) -> list[str]:
        """Fold a batch of one topic; return the causes of its dead letters."""
        batch = [incoming(event) if isinstance(event, Event) else event for event in events]
        fold: AnyFold = self.members if batch[0].record.topic == self.members.topic else self.decisions
        return [letter.cause for letter in (await fold_batch(self.db, fold, batch))[1]]

    async def account(self, *, two_factor: bool = False) -> tuple[UUID, UUID]:
        """Return a fresh account and its owner."""
        account_id, owner_id = uuid4(), uuid4()
        await self.fold(_owner(account_id, owner_id))
        await self.db.execute("UPDATE account SET two_factor = $2 WHERE account_id = $1", account_id, two_factor)
        return account_id, owner_id

    async def add_number(
        self,
        user_id: UUID,
        state: str = "provided",
        *,
        provided: timedelta = timedelta(hours=1),
        ended: timedelta = timedelta(0),
    ) -> UUID:
        """Give a user a number; `provided` and `ended` say how long ago."""
        number, number_id = parse_number(NUMBER), uuid4()
        sealed = seal_number(KEY, secrets.token_bytes(NONCE_BYTES), number, user_id)
        fingerprint = fingerprint_of(FINGERPRINT_KEY, number)
        await self.db.execute(
            ADD_NUMBER, number_id, user_id, state, number.hint, number.country, sealed, fingerprint, provided, ended
        )
        return number_id

    async def ask_for(self, event: MemberSet, owner_id: UUID, **over: Any) -> MemberSet:
        """Let the owner approve a member: an own request, and the set with the grant of its code."""
        summary = Summary(what=event.name)
        request = OwnRequest(
            request_id=uuid4(),
            account_id=event.account_id,
            user_id=owner_id,
            action="manage_member",
            digest="",
            summary=summary,
            member_id=event.user_id,
        )
        digest = decide.member_digest(request, event)
        await self.db.execute(
            ADD_REQUEST,
            request.request_id,
            request.account_id,
            request.user_id,
            request.action,
            digest,
            summary.model_dump_json(),
            request.member_id,
            None,
            REQ,
        )
        claims: dict[str, Any] = {
            "request_id": request.request_id,
            "user_id": owner_id,
            "account_id": event.account_id,
            "action": "manage_member",
            "digest": digest,
            "now": clock(),
        } | over
        return event.model_copy(update={"grant": self.signer.sign(claims_of(**claims))})

    async def protection(self, user_id: UUID) -> dict[str, Any] | None:
        """Return the published row of a member."""
        row = await self.db.fetchrow("SELECT * FROM protection WHERE user_id = $1", user_id)
        return dict(row) if row is not None else None

    async def stored(self, account_id: UUID) -> list[list[dict[str, Any]]]:
        """Return everything that is stored of an account."""
        return [[dict(row) for row in await self.db.fetch(sql, account_id)] for sql in STORED]


async def fold_batch(db: Connection, fold: AnyFold, batch: Sequence[Incoming[Any]]) -> tuple[list[Outgoing], list[Any]]:
    """Fold a batch in its rounds, as the worker does; return what is due and the dead letters."""
    due, dead = [], []
    for part in rounds(fold, batch):

        async def kept_elsewhere(_db: Connection, _letters: object) -> None:
            """Letters of records that no topic holds have no place in the table."""

        folded = await absorb(db, fold, part, also=kept_elsewhere)
        assert not folded.suspects
        due += folded.due
        dead += folded.dead
    return due, dead


def _owner(account_id: UUID, owner_id: UUID) -> MemberSet:
    return a_member_set(account_id=account_id, user_id=owner_id, role="owner", name="Olivia Marsh")
