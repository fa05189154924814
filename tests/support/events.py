"""Builders of every event: fresh ids, a right digest, fresh times; any field can be given."""

from __future__ import annotations

import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from countersign import contract
from countersign.runtime.messages import cloudevents
from countersign.runtime.messages.record import Incoming, Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from countersign.runtime.messages.cloudevents import Event
    from countersign.runtime.messages.record import Outgoing

E = TypeVar("E", bound="Event")

COMPUTER = "203.0.113.7"
PLACE = "203.0.113.7/32"


def clock() -> datetime:
    """Return the time for a record that real servers are to take as fresh. Pure tests use a fixed time instead."""
    return datetime.fromtimestamp(time.time(), UTC)


def a_digest(what: Mapping[str, Any] | None = None) -> str:
    """Return the digest of `what`, or one that nothing else has."""
    return contract.digest_of({"nonce": str(uuid4())} if what is None else what)


def a_summary(**over: Any) -> contract.Summary:
    return contract.Summary(**over)


def a_client(**over: Any) -> contract.Client:
    return contract.Client(**({"ip": COMPUTER, "locale": "en"} | over))


def an_access_requested(**over: Any) -> contract.AccessRequested:
    """Return a login from COMPUTER; its digest fits its request, user and summary."""
    fields = _request(over)
    return contract.AccessRequested(**fields)


def an_access_assessed(**over: Any) -> contract.AccessAssessed:
    """Return an unsigned assessment: `mac` is of the right form and of no key. `signed` makes a real one."""
    fields = {
        "outcome": "challenge",
        "reasons": ["ip.new"],
        "place": PLACE,
        "place_known": False,
        "policy_version": "test",
        "requested_at": clock(),
        "req": "R" * 43,
        "key_id": "test-1",
        "mac": a_digest(),
    } | over
    return contract.AccessAssessed(**_request(fields))


def signed(assessment: contract.AccessAssessed, secret: bytes) -> contract.AccessAssessed:
    """Return the assessment with the MAC that the holder of `secret` makes over all its other fields."""
    covered = json.loads(assessment.model_dump_json())
    del covered["mac"]
    mac = hmac.digest(secret, contract.canonical(covered), "sha256")
    return assessment.model_copy(update={"mac": contract.base64url(mac)})


def an_access_granted(**over: Any) -> contract.AccessGranted:
    """Return a decision whose `grant` nobody signed: for readers that do not act on it."""
    fields = {
        "method": "sms",
        "reasons": ["ip.new"],
        "grant": "header.claims.signature",
        "grant_expires_at": clock() + timedelta(minutes=5),
    } | over
    return contract.AccessGranted(**_decided(fields))


def an_access_denied(**over: Any) -> contract.AccessDenied:
    fields = {"method": "sms", "reasons": ["ip.new"], "reason": "code.expired"} | over
    return contract.AccessDenied(**_decided(fields))


def a_challenge_issued(**over: Any) -> contract.ChallengeIssued:
    """Return a challenge whose sealed code opens with no key."""
    request_id = over.get("request_id", uuid4())
    fields = {
        "challenge_id": contract.challenge_id_of(request_id),
        "request_id": request_id,
        "account_id": uuid4(),
        "user_id": uuid4(),
        "send": 1,
        "number_id": uuid4(),
        "action": "login",
        "summary": a_summary(),
        "client": a_client(),
        "expires_at": clock() + timedelta(minutes=5),
        "key_id": "test-1",
        "sealed_code": "A" * 46,
    } | over
    return contract.ChallengeIssued(**fields)


def an_sms_accepted(**over: Any) -> contract.SmsAccepted:
    fields = {"segments": 1, "provider_message_id": str(uuid4())} | over
    return contract.SmsAccepted(**_delivery(fields))


def an_sms_refused(**over: Any) -> contract.SmsRefused:
    return contract.SmsRefused(**_delivery({"reason": "provider.refused"} | over))


def an_sms_suppressed(**over: Any) -> contract.SmsSuppressed:
    fields = {"reason": "number.hour", "retry_at": clock() + timedelta(hours=1)} | over
    return contract.SmsSuppressed(**_delivery(fields))


def an_sms_unknown(**over: Any) -> contract.SmsUnknown:
    return contract.SmsUnknown(**_delivery({"segments": 1, "reason": "provider.timeout"} | over))


def a_member_set(**over: Any) -> contract.MemberSet:
    fields: dict[str, Any] = {
        "account_id": uuid4(),
        "user_id": uuid4(),
        "version": 1,
        "role": "managed",
        "name": "Ada Byron",
        "locale": "en",
    } | over
    return contract.MemberSet(**fields)


def a_member_removed(**over: Any) -> contract.MemberRemoved:
    fields: dict[str, Any] = {"account_id": uuid4(), "user_id": uuid4(), "version": 2} | over
    return contract.MemberRemoved(**fields)


def a_two_factor_enabled(**over: Any) -> contract.TwoFactorEnabled:
    return contract.TwoFactorEnabled(**_setting(over))


def a_two_factor_disabled(**over: Any) -> contract.TwoFactorDisabled:
    return contract.TwoFactorDisabled(**_managed(over))


def a_number_provided(**over: Any) -> contract.NumberProvided:
    return contract.NumberProvided(**_setting({"user_id": uuid4(), "number_id": uuid4()} | over))


def a_number_confirmed(**over: Any) -> contract.NumberConfirmed:
    return contract.NumberConfirmed(**_setting({"user_id": uuid4(), "number_id": uuid4()} | over))


def a_number_replaced(**over: Any) -> contract.NumberReplaced:
    fields = {"user_id": uuid4(), "number_id": uuid4(), "old_number_id": uuid4()} | over
    return contract.NumberReplaced(**_setting(fields))


def a_number_reset(**over: Any) -> contract.NumberReset:
    return contract.NumberReset(**_managed({"user_id": uuid4(), "old_number_id": uuid4()} | over))


def a_user_unlocked(**over: Any) -> contract.UserUnlocked:
    return contract.UserUnlocked(**_managed({"user_id": uuid4()} | over))


def a_places_forgotten(**over: Any) -> contract.PlacesForgotten:
    """Return the forgetting of every place of every user of an account."""
    return contract.PlacesForgotten(**_setting(over))


def outgoing(event: Event, *, source: str = "test", at: datetime | None = None) -> Outgoing:
    """Return the record to publish for an event made `at`, or now."""
    return cloudevents.write(event, source=source, time=at or clock())


def incoming(
    event: E, *, at: datetime | None = None, appended_at: datetime | None = None, value: bytes | None = None
) -> Incoming[E]:
    """Return an event as a fold sees it, as if it had come from Kafka; `value` stands for the JSON it came in."""
    made = at or clock()
    record = a_record(event, at=made, appended_at=appended_at, value=value)
    return Incoming(event, record, str(event.event_id()), made)


def a_record(
    event: Event, *, at: datetime | None = None, appended_at: datetime | None = None, value: bytes | None = None
) -> Record:
    """Return the record that Kafka would hold of an event."""
    made = at or clock()
    out = outgoing(event, at=made)
    return Record(out.topic, 0, 0, out.key, out.value if value is None else value, out.headers, appended_at or made)


def _request(over: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request_id": uuid4(),
        "account_id": uuid4(),
        "user_id": uuid4(),
        "action": "login",
        "client": a_client(),
        "summary": a_summary(),
    } | dict(over)
    fields.setdefault("digest", _digest_for(fields["request_id"], fields["user_id"], fields["summary"]))
    return fields


def _digest_for(request_id: UUID, user_id: UUID, summary: contract.Summary) -> str:
    shown = summary.model_dump(mode="json", exclude_none=True)
    return a_digest({"request_id": str(request_id), "user_id": str(user_id), "summary": shown})


def _decided(over: Mapping[str, Any]) -> dict[str, Any]:
    request_id = over.get("request_id", uuid4())
    return {
        "request_id": request_id,
        "account_id": uuid4(),
        "user_id": uuid4(),
        "action": "login",
        "digest": a_digest(),
        "challenge_id": contract.challenge_id_of(request_id),
        "number_id": uuid4(),
    } | dict(over)


def _delivery(over: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "challenge_id": uuid4(),
        "account_id": uuid4(),
        "user_id": uuid4(),
        "send": 1,
        "number_id": uuid4(),
        "country": "AU",
        "provider": "sns",
    } | dict(over)


def _setting(over: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "account_id": uuid4(),
        "version": 1,
        "actor": contract.Actor(kind="user", id=str(uuid4())),
        "chain_head": a_digest(),
    } | dict(over)


def _managed(over: Mapping[str, Any]) -> dict[str, Any]:
    actor = contract.Actor(kind="account_manager", id=str(uuid4()))
    return _setting({"actor": actor, "reason": "asked by telephone", "ticket": "SUP-1042"} | dict(over))
