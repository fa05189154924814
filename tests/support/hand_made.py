"""A small world made by hand, as four requests leave it: by code, from a known place, an export, one that expired."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from countersign.contract import challenge_id_of, req_of
from countersign.policy import TextLimits
from countersign.runtime.messages.cloudevents import value_of
from countersign.runtime.messages.record import Record
from services.verifier.codes import sealed
from services.verifier.model import FreshCode
from tests.support.drive import Told
from tests.support.events import (
    PLACE,
    a_challenge_issued,
    a_member_set,
    a_places_forgotten,
    an_access_assessed,
    an_access_denied,
    an_access_granted,
    an_access_requested,
    an_sms_accepted,
    outgoing,
    signed,
)
from tests.support.grants import Signer, claims_of
from tests.support.world import READ_BY, Keys, Text, World, published

if TYPE_CHECKING:
    from countersign.contract import AccessRequested
    from countersign.runtime.messages.cloudevents import Event
    from tests.support.world import Fate, Row

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECRET = b"s" * 32
NUMBER = "+46701740605"
FINGERPRINT = b"f" * 32
BEARER = "b" * 43


@dataclass
class HandMade:
    """A world under construction. `at` is the time of what comes next."""

    world: World = field(default_factory=lambda: World(limits=TextLimits(gap=timedelta(0))))
    signer: Signer = field(default_factory=Signer)
    account_id: UUID = field(default_factory=uuid4)
    user_id: UUID = field(default_factory=uuid4)
    number_id: UUID = field(default_factory=uuid4)
    at: datetime = NOON
    codes: dict[UUID, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seed = self.signer.private.private_bytes_raw()
        self.world.keys = Keys({"code-1": SECRET}, {"mac-1": SECRET}, {"grant-1": published("grant-1", seed)})
        self.world.bearers = [BEARER]
        self.add("enrolment.account", account_id=self.account_id, two_factor=True)
        self.add("enrolment.member", account_id=self.account_id, user_id=self.user_id, version=1)
        self.add("enrolment.phone_number", number_id=self.number_id, state="confirmed")

    # topics and tables

    def publish(self, event: Event, *, again: bool = False) -> Record:
        """Put an event on its topic; the offsets of its readers follow. `again`: with the time that it had."""
        if not again:
            self.at += timedelta(seconds=1)
        made = outgoing(event, at=self.at)
        lying = self.world.records.setdefault(made.topic, [])
        record = Record(made.topic, 0, len(lying), made.key, made.value, made.headers, self.at)
        lying.append(record)
        for service, topics in READ_BY.items():
            if made.topic in topics:
                self.world.offsets.setdefault(service, {})[made.topic, 0] = len(lying)
        return record

    def add(self, table: str, **columns: Any) -> Row:
        """Add a row."""
        self.world.tables.setdefault(table, []).append(columns)
        return columns

    def row(self, table: str, **columns: Any) -> Row:
        """Return the row with these values."""
        return next(row for row in self.world.table(table) if columns.items() <= row.items())

    # the steps of a request

    def request(self, **over: Any) -> AccessRequested:
        """Ask for access."""
        event = an_access_requested(**({"account_id": self.account_id, "user_id": self.user_id} | over))
        self.publish(event)
        return event

    def assess(self, request: AccessRequested, **over: Any) -> None:
        """Assess, and have the verifier take it in."""
        copied = request.model_dump(include={"request_id", "account_id", "user_id", "action", "digest"})
        made = {"key_id": "mac-1", "requested_at": self.at, "req": req_of(value_of(request))}
        event = signed(an_access_assessed(**(copied | made | over)), SECRET)
        self.publish(event)
        self.add("risk_evaluator.assessment", request_id=request.request_id, place=event.place)
        self.add("verifier.request", request_id=request.request_id)

    def challenge(self, request: AccessRequested) -> UUID:
        """Open a challenge, and send its text."""
        challenge_id = challenge_id_of(request.request_id)
        expires_at = self.at + timedelta(minutes=5)
        self.add(
            "verifier.challenge",
            challenge_id=challenge_id,
            request_id=request.request_id,
            attempts=0,
            attempts_max=5,
            expires_at=expires_at,
        )
        self.send(request, 1)
        return challenge_id

    def send(self, request: AccessRequested, send: int, fate: Fate = "accepted") -> str:
        """Issue a text and have it leave; return its code."""
        challenge_id = challenge_id_of(request.request_id)
        ids = {"account_id": self.account_id, "user_id": self.user_id, "number_id": self.number_id, "send": send}
        expires_at = self.row("verifier.challenge", challenge_id=challenge_id)["expires_at"]
        event = a_challenge_issued(
            request_id=request.request_id, key_id="code-1", expires_at=expires_at, action=request.action, **ids
        )
        code = f"{9000_0000 + 7919 * len(self.codes)}"
        self.publish(sealed(event, FreshCode(code, b"n" * 12), SECRET))
        self.codes[challenge_id] = code
        self.world.texts.append(Text(NUMBER, code, fate, (self.at - NOON).total_seconds()))
        self.add(
            "notifier.dispatch",
            challenge_id=challenge_id,
            send=send,
            account_id=self.account_id,
            number_id=self.number_id,
            state="accepted",
            number_fingerprint=FINGERPRINT,
            counted_at=self.at,
            reserved=False,
            from_reserve=False,
            expires_at=expires_at,
        )
        self.add("verifier.send", challenge_id=challenge_id, send=send, state="accepted")
        self.publish(an_sms_accepted(challenge_id=challenge_id, **ids))
        return code

    def answer(self, challenge_id: UUID, *, accepted: bool, told: bool = True) -> Row:
        """Judge an answer."""
        challenge = self.row("verifier.challenge", challenge_id=challenge_id)
        challenge["attempts"] += not accepted
        row = self.add(
            "verifier.answer", challenge_id=challenge_id, answer_id=uuid4(), accepted=accepted, judged_at=self.at
        )
        if told:
            verdict = "accepted" if accepted else "wrong"
            self.world.told.append(Told(challenge_id, row["answer_id"], verdict, 5 - challenge["attempts"]))
        return row

    def grant(self, request: AccessRequested, method: str, **over: Any) -> Record:
        """Decide: granted."""
        self.at += timedelta(seconds=1)
        ids = {name: getattr(request, name) for name in ("request_id", "user_id", "account_id", "action", "digest")}
        amr = ["sms"] if method == "sms" else []
        req = req_of(value_of(request))
        grant = self.signer.sign(claims_of(**ids, req=req, now=self.at, amr=amr))
        record = self.publish(
            an_access_granted(**(ids | {"method": method, "number_id": None, "grant": grant} | over)), again=True
        )
        self.add("verifier.decision", request_id=request.request_id, outcome="granted", reason=None, decided_at=self.at)
        return record

    def deny(self, request: AccessRequested, reason: str) -> None:
        """Decide: denied."""
        ids = {name: getattr(request, name) for name in ("request_id", "user_id", "account_id", "action", "digest")}
        self.publish(an_access_denied(**ids, reason=reason))
        self.add(
            "verifier.decision", request_id=request.request_id, outcome="denied", reason=reason, decided_at=self.at
        )


@dataclass
class Story:
    """A clean world, and the requests in it by what became of them."""

    made: HandMade
    by_code: AccessRequested
    known: AccessRequested
    export: AccessRequested
    expired: AccessRequested

    @property
    def world(self) -> World:
        return self.made.world


def a_story() -> Story:
    """Return a world in which everything went well."""
    made = HandMade()
    by_code = made.request()
    made.assess(by_code)
    challenge_id = made.challenge(by_code)
    made.answer(challenge_id, accepted=False)
    made.answer(challenge_id, accepted=True)
    of_code = {"challenge_id": challenge_id, "number_id": made.number_id}
    granted = made.grant(by_code, "sms", reasons=["ip.new"], **of_code)
    notice_id = UUID((granted.header("ce_id") or b"").decode())
    made.add("notifier.notice", event_id=notice_id, number_id=made.number_id, state="accepted")
    made.add("risk_evaluator.place", account_id=made.account_id, place=PLACE)
    known = made.request()
    made.assess(known, outcome="allow", reasons=["ip.known"], place_known=True)
    made.grant(known, "none")
    export = made.request(action="export")
    made.assess(export, reasons=["export.always"])
    made.answer(made.challenge(export), accepted=True)
    made.grant(export, "sms")
    made.add("exports.export", export_id=export.request_id, state="ready")
    expired = made.request()
    made.assess(expired)
    made.challenge(expired)
    made.at += timedelta(minutes=6)
    made.deny(expired, "code.expired")
    made.publish(a_member_set(account_id=made.account_id, user_id=made.user_id))
    _forget_places(made)
    made.world.written = {"verifier-0.log": '{"event": "service_started", "answer_seconds": 0.123456}'}
    return Story(made, by_code, known, export, expired)


def _forget_places(made: HandMade) -> None:
    event = a_places_forgotten(account_id=made.account_id)
    made.publish(event)
    made.add("enrolment.setting_change", account_id=made.account_id, version=1)
    made.add("risk_evaluator.forgotten", account_id=made.account_id, user_id=None, place=None)
    made.add("gateway.ending", event_key=f"{event.ce_type}:{event.natural_key()}")
