"""One story in events: a login from a new computer, an export, and what an account's settings go through.

Others can hold their own code against its seals, MACs and signatures: they are real, under keys that everybody knows.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract import access, accounts, challenges, values
from countersign.contract.canonical import base64url, canonical, digest_of, req_of
from countersign.contract.example_keys import KEY_ID, MAC_KEY, NONCE, SEAL_KEY, claims_about, jws
from countersign.contract.example_story import (
    ACCOUNT,
    CLIENT,
    CONFIRMATION,
    CONTACTS,
    EXPORT,
    KNOWN_LOGIN,
    LIST,
    LOGIN,
    MANAGED,
    NEW_NUMBER,
    NINE,
    NOTHING,
    NUMBER,
    OWNER,
    STAFF,
    Example,
)
from countersign.runtime.messages.cloudevents import Event, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID


def login_authorises(request_id: UUID, user_id: UUID, session_secret: str) -> dict[str, Any]:
    """Return what the login of one browser session authorises; of the session's secret only the SHA-256 goes in."""
    session = base64url(hashlib.sha256(session_secret.encode()).digest())
    return {"request_id": str(request_id), "user_id": str(user_id), "session": session, "summary": {}}


def all_examples() -> tuple[Example, ...]:
    """Return at least one example of every event."""
    return (*_requests(), *_assessments(), *_challenge(), *_decisions(), *_members(), *_settings())


def _after(seconds: int) -> datetime:
    return NINE + timedelta(seconds=seconds)


def _request(request_id: UUID, action: values.Action, authorises: Mapping[str, Any], **over: Any) -> Any:
    return {
        "request_id": request_id,
        "account_id": ACCOUNT,
        "user_id": OWNER,
        "action": action,
        "client": CLIENT,
        "digest": digest_of(authorises),
        "summary": NOTHING,
    } | over


_LOGIN = login_authorises(LOGIN, OWNER, "the secret of this browser's session before the login")
_KNOWN = login_authorises(KNOWN_LOGIN, OWNER, "the secret of another session")
_EXPORT: dict[str, Any] = {
    "export_id": str(EXPORT),
    "account_id": str(ACCOUNT),
    "user_id": str(OWNER),
    "list_id": str(LIST),
    "format": "csv",
    "rows": 412,
    "contacts": base64url(hashlib.sha256(b"the frozen contact ids").digest()),
    "session": base64url(hashlib.sha256(b"the secret of the session that asked for the export").digest()),
    "summary": CONTACTS.model_dump(exclude_none=True),
}
_CONFIRMATION: dict[str, Any] = {
    "request_id": str(CONFIRMATION),
    "user_id": str(OWNER),
    "number_id": str(NEW_NUMBER),
    "summary": {},
}


def _requests() -> tuple[Example, ...]:
    login = access.AccessRequested(**_request(LOGIN, "login", _LOGIN))
    export = access.AccessRequested(**_request(EXPORT, "export", _EXPORT, summary=CONTACTS))
    number = access.AccessRequested(**_request(CONFIRMATION, "confirm_number", _CONFIRMATION, number_id=NEW_NUMBER))
    return (
        Example("login", login, "gateway", _after(0), _LOGIN),
        Example("export", export, "exports", _after(300), _EXPORT),
        Example("confirm_number", number, "enrolment", _after(600), _CONFIRMATION),
    )


def _assessments() -> tuple[Example, ...]:
    new = _request(LOGIN, "login", _LOGIN)
    known = _request(KNOWN_LOGIN, "login", _KNOWN)
    export = _request(EXPORT, "export", _EXPORT, summary=CONTACTS)
    return (
        _assessed("login_from_a_new_computer", new, _after(0), outcome="challenge", reason="ip.new"),
        _assessed("login_from_a_known_computer", known, _after(900), outcome="allow", reason="ip.known"),
        _assessed("export", export, _after(300), outcome="challenge", reason="export.always"),
    )


def _assessed(name: str, request: Any, at: datetime, *, outcome: values.Outcome, reason: values.Reason) -> Example:
    assessed = access.AccessAssessed(
        **request,
        outcome=outcome,
        reasons=[reason],
        place="203.0.113.7/32",
        place_known=reason != "ip.new",
        requested_at=at,
        policy_version="1",
        req=_req(request),
        key_id=KEY_ID,
        mac="A" * 43,
    )
    return Example(name, _with_mac(assessed), "risk_evaluator", at)


def _req(request: Mapping[str, Any]) -> str:
    """Return `req` of the file in `schemas/examples`: who copies the file publishes these very bytes."""
    value = json.loads(value_of(access.AccessRequested(**request)))
    return req_of((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _with_mac(event: access.AccessAssessed) -> access.AccessAssessed:
    covered = canonical(_rest(event, "mac"))
    return event.model_copy(update={"mac": base64url(hmac.digest(MAC_KEY, covered, "sha256"))})


def _rest(event: Event, without: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(event.model_dump_json())
    del fields[without]
    return fields


def _challenge() -> tuple[Example, ...]:
    issued = challenges.ChallengeIssued(
        **_text(LOGIN),
        request_id=LOGIN,
        action="login",
        summary=NOTHING,
        client=CLIENT,
        expires_at=_after(300),
        key_id=KEY_ID,
        sealed_code="A" * 46,
    )
    sealed = NONCE + AESGCM(SEAL_KEY).encrypt(NONCE, b"271828", canonical(_rest(issued, "sealed_code")))
    issued = issued.model_copy(update={"sealed_code": base64url(sealed)})
    sent: dict[str, Any] = _text(LOGIN) | {"country": "AU", "provider": "sns"}
    message_id = "3a1f0d8e-94c2-5c1b-a0f7-8d2c0c1e7b55"
    accepted = challenges.SmsAccepted(**sent, segments=1, provider_message_id=message_id)
    return (
        Example("login", issued, "verifier", _after(1)),
        Example("accepted", accepted, "notifier", _after(2)),
        Example("opted_out", challenges.SmsRefused(**sent, reason="opted_out"), "notifier", _after(2)),
        Example(
            "too_many_an_hour",
            challenges.SmsSuppressed(**sent, reason="number.hour", retry_at=_after(1800)),
            "notifier",
            _after(2),
        ),
        Example("timed_out", challenges.SmsUnknown(**sent, segments=1, reason="timeout"), "notifier", _after(7)),
    )


def _text(request_id: UUID) -> dict[str, Any]:
    return {
        "challenge_id": challenges.challenge_id_of(request_id),
        "account_id": ACCOUNT,
        "user_id": OWNER,
        "send": 1,
        "number_id": NUMBER,
    }


def _decisions() -> tuple[Example, ...]:
    by_code = _decision(LOGIN, "login", _LOGIN, by_code=True)
    known = _decision(KNOWN_LOGIN, "login", _KNOWN, by_code=False)
    export = _decision(EXPORT, "export", _EXPORT, by_code=True)
    granted = access.AccessGranted(**by_code, reasons=["ip.new"], **_granted(by_code, _after(20), _LOGIN))
    straight = access.AccessGranted(**known, reasons=["ip.known"], **_granted(known, _after(900), _KNOWN))
    exhausted = access.AccessDenied(**export, reasons=["export.always"], **_denied(export, "code.exhausted", None))
    locked = access.AccessDenied(**export, reasons=["export.always"], **_denied(export, "locked", _after(4000)))
    return (
        Example("by_code", granted, "verifier", _after(20)),
        Example("from_a_known_computer", straight, "verifier", _after(900)),
        Example("five_wrong_codes", exhausted, "verifier", _after(400)),
        Example("locked", locked, "verifier", _after(400)),
    )


def _decision(request_id: UUID, action: values.Action, authorises: Mapping[str, Any], *, by_code: bool) -> Any:
    return {
        "request_id": request_id,
        "account_id": ACCOUNT,
        "user_id": OWNER,
        "action": action,
        "digest": digest_of(authorises),
        "method": "sms" if by_code else "none",
        "challenge_id": challenges.challenge_id_of(request_id) if by_code else None,
        "number_id": NUMBER if by_code else None,
    }


def _granted(decision: Mapping[str, Any], at: datetime, authorises: Mapping[str, Any]) -> dict[str, Any]:
    """Return the grant of a decision made `at` on a login."""
    expires_at = at + timedelta(minutes=5)
    claims = {
        **claims_about(decision),
        "req": _req(_request(decision["request_id"], "login", authorises)),
        "amr": [] if decision["method"] == "none" else [decision["method"]],
        "iat": int(at.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    return {"grant": jws("countersign-grant+jwt", claims), "grant_expires_at": expires_at}


def _denied(decision: Mapping[str, Any], reason: values.DenialReason, retry_at: datetime | None) -> dict[str, Any]:
    """Return the reason of a denial with its proof."""
    claims = {
        **claims_about(decision),
        "reason": reason,
        "retry_at": None if retry_at is None else retry_at.isoformat().replace("+00:00", "Z"),
        "iat": int(_after(400).timestamp()),
    }
    return {"reason": reason, "retry_at": retry_at, "proof": jws("countersign-denial+jwt", claims)}


def _members() -> tuple[Example, ...]:
    owner = accounts.MemberSet(
        account_id=ACCOUNT, user_id=OWNER, version=1, role="owner", name="Ada Byron", locale="en-AU"
    )
    removed = accounts.MemberRemoved(account_id=ACCOUNT, user_id=MANAGED, version=2)
    return (Example("owner", owner, "gateway", _after(-9000)), Example("removed", removed, "gateway", _after(9000)))


def _settings() -> tuple[Example, ...]:
    by_owner = values.Actor(kind="user", id=str(OWNER))
    by_staff = values.Actor(kind="account_manager", id=str(STAFF))
    asked: dict[str, Any] = {"reason": "asked by telephone, called back", "ticket": "SUP-1042"}
    of_owner: dict[str, Any] = {"user_id": OWNER}
    changes: tuple[tuple[str, type[accounts.Setting], dict[str, Any]], ...] = (
        ("provided", accounts.NumberProvided, {"actor": by_owner, "number_id": NUMBER} | of_owner),
        ("confirmed", accounts.NumberConfirmed, {"actor": by_owner, "number_id": NUMBER} | of_owner),
        ("by_the_owner", accounts.TwoFactorEnabled, {"actor": by_owner}),
        (
            "replaced",
            accounts.NumberReplaced,
            {"actor": by_owner, "number_id": NEW_NUMBER, "old_number_id": NUMBER} | of_owner,
        ),
        ("one_place", accounts.PlacesForgotten, {"actor": by_owner, "place": "198.51.100.24/32"}),
        ("unlocked", accounts.UserUnlocked, {"actor": by_staff} | of_owner | asked),
        ("reset", accounts.NumberReset, {"actor": by_staff, "old_number_id": NEW_NUMBER} | of_owner | asked),
        ("by_an_account_manager", accounts.TwoFactorDisabled, {"actor": by_staff} | asked),
        ("first_of_two", accounts.NumberResetRecorded, {"actor": by_staff} | of_owner | asked),
        ("released", accounts.ExportsReleased, {"actor": by_staff} | asked),
    )
    return tuple(
        Example(
            name,
            kind(account_id=ACCOUNT, version=version, chain_head=digest_of({"change": version}), **fields),
            "enrolment",
            _after(60 * version),
        )
        for version, (name, kind, fields) in enumerate(changes, start=1)
    )
