"""The verifier's own folds, routes' work and due work on a ground's database, and one user in it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from hypothesis.stateful import RuleBasedStateMachine

from countersign.client.grant import Expected, Realm, judge_grant
from services.notifier.codes import open_code
from services.verifier.challenges import Answered, Waiting
from services.verifier.wiring import SERVICE, challenges_of, desk_of
from tests.histories.challenge_model import Challenge, Text, World
from tests.support.enrolment import fold_batch
from tests.support.events import (
    an_access_assessed,
    an_sms_accepted,
    an_sms_refused,
    an_sms_suppressed,
    an_sms_unknown,
    incoming,
    signed,
)
from tests.support.verifier import settings_of
from tests.support.world import keys_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.contract import Action
    from countersign.runtime.database.postgres import Pool
    from countersign.runtime.program.frame import Parts
    from services.verifier.challenges import Challenges
    from services.verifier.settings import VerifierSettings
    from tests.support.histories import Ground

DELIVERIES = {
    "accepted": an_sms_accepted,
    "refused": an_sms_refused,
    "suppressed": an_sms_suppressed,
    "unknown": an_sms_unknown,
}
ADD_MEMBER = """
WITH a AS (INSERT INTO enrolment.account (account_id, two_factor) VALUES ($1, true))
INSERT INTO enrolment.member (user_id, account_id, version, role, name) VALUES ($2, $1, 1, 'owner', 'Ada')
"""
ADD_NUMBER = """
INSERT INTO enrolment.phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at)
VALUES ($1, $2, $3, '+61 ••••••••06', 'AU', 'sealed', 'k', uuid_send($1), now())
"""


class Verifier:
    """The verifier's own fold, routes' work and due work on the ground's database."""

    def __init__(self, ground: Ground, settings: VerifierSettings, pool: Pool, parts: Parts, work: Challenges) -> None:
        self.ground, self.settings, self.pool = ground, settings, pool
        self.keys = keys_of(ground.servers)
        self.assessments, self.deliveries = parts.folds
        self.expiry = parts.dues[0]
        self.challenges = work

    async def fold(self, fold: Any, *events: Any) -> None:
        async with self.pool.acquire() as db:
            _, dead = await fold_batch(db, fold, [incoming(event, at=self.ground.at) for event in events])
        assert dead == []

    async def expire(self) -> None:
        async with self.pool.acquire() as db:
            items = await self.expiry.take(db, 100)
            async with db.transaction():
                await self.expiry.settle(db, items)


class OneUser(RuleBasedStateMachine):
    """A user of the verifier, and the model beside them; what is done is in the rules of whoever inherits this."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__()
        self.verifier, self.ground = verifier, verifier.ground
        self.run = self.ground.run
        self._ids = count(1)
        self.account_id, self.user_id = self.new_id(), self.new_id()
        self.world = World(self.new_id())
        self.requests: dict[UUID, Any] = {}
        self.told: dict[UUID, str] = {}
        self.run(self.ground.begin_anew())
        self.run(self.ground.db.execute(ADD_MEMBER, self.account_id, self.user_id))
        self.run(self.add_number("confirmed"))

    async def add_number(self, state: str) -> None:
        self.world.number_id, self.world.number_state = self.new_id(), state
        await self.ground.db.execute(ADD_NUMBER, self.world.number_id, self.user_id, state)

    def new_id(self) -> UUID:
        return UUID(int=next(self._ids) << 64, version=4)  # the same in every replay of a history

    def assessed(self, action: Action, place: str, *, known: bool) -> Any:
        reasons = {"login": ["ip.known" if known else "ip.new"], "export": ["export.always"]}
        outcome: Literal["challenge"] = "challenge"
        key = self.verifier.settings.assessment_keys[0]
        event = an_access_assessed(
            request_id=self.new_id(),
            account_id=self.account_id,
            user_id=self.user_id,
            action=action,
            outcome=outcome,
            reasons=reasons.get(action, ["action.always"]),
            place=place,
            place_known=known,
            requested_at=self.ground.at,
            key_id=key.key_id,
        )
        return signed(event, key.secret.get_secret_value())

    def code_of(self, challenge: Challenge, what: str) -> str:
        sends = sorted(challenge.texts, reverse=True)
        good = challenge.good()
        match what:
            case "right":
                return challenge.texts[sends[0]].code
            case "older":
                return challenge.texts[sends[min(1, len(sends) - 1)]].code
            case "oldest":
                return challenge.texts[sends[-1]].code
            case _:
                return next(code for code in ("000000", "111111", "222222") if code not in good)

    async def give_answer(self, challenge: Challenge, code: str, answer_id: UUID) -> str:
        reply = await self.verifier.challenges.answer(challenge.challenge_id, code, answer_id)
        if isinstance(reply, Waiting):
            return "wait"
        assert isinstance(reply, Answered)
        assert (reply.grant is not None) == (reply.verdict == "accepted")
        return reply.verdict

    async def change_member(self, change: str, value: object) -> None:
        await self.ground.db.execute(
            f"UPDATE enrolment.member SET {change} WHERE user_id = $1",
            self.user_id,
            value,
        )

    async def end_number(self, state: str) -> None:
        await self.ground.db.execute(
            "UPDATE enrolment.phone_number SET state = $2, ended_at = now() WHERE user_id = $1 AND ended_at IS NULL",
            self.user_id,
            state,
        )

    def take_published(self) -> None:
        """Read the codes off the phones, and each decision off its topic: never a second one."""
        for ce_type, value in self.run(self.ground.published("verifier")):
            if ce_type.endswith("challenge.issued.v1"):
                challenge = next(c for c in self.world.challenges if str(c.challenge_id) == value["challenge_id"])
                assert value["send"] not in challenge.texts
                assert value["number_id"] == str(challenge.number_id)
                code = open_code(self.verifier.keys.codes[value["key_id"]], value).digits
                challenge.texts[value["send"]] = Text(code, self.ground.at)
                continue
            request_id = UUID(value["request_id"])
            assert request_id not in self.told, "a second decision"
            self.told[request_id] = value.get("reason") or "granted"
            if "grant" in value:
                self._is_earned(value)

    def _is_earned(self, value: dict[str, Any]) -> None:
        event = self.requests[UUID(value["request_id"])]
        expected = Expected(
            action=event.action,
            request_id=event.request_id,
            user_id=self.user_id,
            account_id=self.account_id,
            digest=event.digest,
            req=event.req,
        )
        grant = judge_grant(value["grant"], expected, self.ground.at, self.verifier.keys.grants, Realm())
        assert grant.method == "sms"


@asynccontextmanager
async def a_verifier(ground: Ground) -> AsyncIterator[Verifier]:
    settings = settings_of(ground.servers)
    async with (
        ground.frame("verifier", settings) as frame,
        ground.frame("verifier", settings) as other,
        SERVICE.wire(frame) as parts,
    ):
        yield Verifier(ground, settings, frame.pool, parts, challenges_of(other, desk_of(other)))
