"""Invariants 1 to 4, 8 and 12: requests, grants, answers and their ends."""

from __future__ import annotations

import hmac
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from countersign.client.grant import Expected, GrantRefusedError, Realm, judge_taught
from countersign.contract import AccessGranted, base64url, canonical, challenge_id_of
from countersign.runtime.errors import KeyUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from countersign.contract import AccessAssessed
    from countersign.runtime.messages.record import Incoming
    from tests.support.checks.view import View


def grants_are_earned(view: View) -> Iterator[str]:
    """1. A grant has a code accepted for that very request, or an `allow` that the floor honours."""
    taught = _taught(view)
    for request_id, group in view.decisions.items():
        for incoming in group:
            if not isinstance(incoming.event, AccessGranted):
                continue
            event: AccessGranted = incoming.event
            yield from _signed(view, event, incoming.ce_time)
            if event.method == "sms":
                if not view.accepted.get(challenge_id_of(request_id)):
                    yield f"request {request_id}: granted by sms, and no answer to its challenge was accepted"
            else:
                yield from _allowed(view, event, incoming.ce_time, taught)
    yield from _granted_elsewhere(view)


def _signed(view: View, event: AccessGranted, at: datetime) -> Iterator[str]:
    expected = Expected(
        action=event.action,
        request_id=event.request_id,
        user_id=event.user_id,
        account_id=event.account_id,
        digest=event.digest,
        req=_judged(view, event),
    )
    try:
        grant = judge_taught(event.grant, expected, at, view.world.keys.grants, Realm())
    except (GrantRefusedError, KeyUnknownError) as refused:
        yield f"request {event.request_id}: its grant is not of the verifier, or not of this request ({refused})"
        return
    if grant.method != event.method:
        yield f"request {event.request_id}: the grant says {grant.method}, the event {event.method}"


def _judged(view: View, event: AccessGranted) -> str | None:
    """Return `req` of the copy of the request that was judged; None where the assessment is not on its topic."""
    assessed = view.assessments.get(event.request_id)
    return assessed[0].event.req if assessed else None


def _taught(view: View) -> dict[tuple[UUID, str], datetime]:
    """Return since when a place is known to an account: a granted login's assessment names it."""
    found: dict[tuple[UUID, str], datetime] = {}
    for request_id, group in view.decisions.items():
        assessed = view.assessments.get(request_id)
        event = group[0].event
        if not assessed or not isinstance(event, AccessGranted) or event.action != "login":
            continue
        place = assessed[0].event.place
        if place is not None:
            key = (event.account_id, place)
            found[key] = min(group[0].ce_time, found.get(key, group[0].ce_time))
    return found


def _allowed(view: View, event: AccessGranted, at: datetime, taught: dict[tuple[UUID, str], datetime]) -> Iterator[str]:
    assessments = [i for i in view.assessments.get(event.request_id, []) if _is_genuine(view, i)]
    if not any(i.event.outcome == "allow" for i in assessments):
        yield f"request {event.request_id}: granted without a code, and no genuine assessment allows it"
        return
    assessed = assessments[0].event
    two_factor = _two_factor(view, event.account_id)
    if not two_factor and event.action in {"login", "export"}:
        return
    if event.action != "login" or "ip.known" not in assessed.reasons:
        yield f"request {event.request_id}: {event.action} granted without a code on a protected account"
    elif assessed.place is None or taught.get((event.account_id, assessed.place), at) >= at:
        yield f"request {event.request_id}: granted from a place that no granted login had used before"


def _is_genuine(view: View, incoming: Incoming[AccessAssessed]) -> bool:
    raw = json.loads(incoming.record.value or b"{}")
    mac = raw.pop("mac", "")
    secret = view.world.keys.assessments.get(incoming.event.key_id)
    return secret is not None and hmac.compare_digest(mac, base64url(hmac.digest(secret, canonical(raw), "sha256")))


def _two_factor(view: View, account_id: UUID) -> bool:
    """Return the setting of an account; one that is not known is protected."""
    account = view.rows("enrolment.account", "account_id").get(account_id)
    return account is None or bool(account["two_factor"])


def _granted_elsewhere(view: View) -> Iterator[str]:
    """Nothing was told over HTTP or acted on that is not a granted decision."""
    granted = {
        request_id: group[0].event.grant
        for request_id, group in view.decisions.items()
        if isinstance(group[0].event, AccessGranted)
    }
    by_challenge = {challenge_id_of(request_id): grant for request_id, grant in granted.items()}
    for told in view.world.told:
        if told.grant is not None and by_challenge.get(told.challenge_id) != told.grant:
            yield f"challenge {told.challenge_id}: a caller was told a grant that is not the decision's"
    for export in view.world.table("exports.export"):
        if export["state"] in {"granted", "ready"} and export["export_id"] not in granted:
            yield f"export {export['export_id']}: {export['state']} without a granted decision"


def decisions_are_single(view: View) -> Iterator[str]:
    """2. At most one decision a request: whatever lies on the topic of it is one event, and the table says the same."""
    stored = view.rows("verifier.decision", "request_id")
    for request_id, group in view.decisions.items():
        if len({(incoming.ce_id, incoming.record.value) for incoming in group}) > 1:
            yield f"request {request_id}: {len(group)} decisions that differ"
        outcome = "granted" if isinstance(group[0].event, AccessGranted) else "denied"
        row = stored.get(request_id)
        if row is None or row["outcome"] != outcome:
            yield f"request {request_id}: {outcome} on the topic, {row['outcome'] if row else 'nothing'} in the table"
    for request_id in stored.keys() - view.decisions.keys():
        yield f"request {request_id}: decided in the table and never published"


def challenges_are_redeemed_once(view: View) -> Iterator[str]:
    """3. One accepted answer a challenge, in the table and in what callers were told."""
    for challenge_id, rows in view.accepted.items():
        if len(rows) > 1:
            yield f"challenge {challenge_id}: {len(rows)} answers were accepted"
    told: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for one in view.world.told:
        if one.verdict == "accepted":
            told[one.challenge_id].add(one.answer_id)
    for challenge_id, answer_ids in told.items():
        if len(answer_ids) > 1:
            yield f"challenge {challenge_id}: {len(answer_ids)} answers were told that they are accepted"
        if challenge_id not in view.accepted:
            yield f"challenge {challenge_id}: an answer was told that it is accepted, and none was"


def tries_are_limited(view: View) -> Iterator[str]:
    """4. At most 5 tries are judged, and all that were judged are counted."""
    judged = Counter(row["challenge_id"] for row in view.world.table("verifier.answer"))
    for challenge_id, row in view.rows("verifier.challenge", "challenge_id").items():
        if judged[challenge_id] > row["attempts_max"]:
            yield f"challenge {challenge_id}: {judged[challenge_id]} tries were judged"
        if judged[challenge_id] > row["attempts"] + _accepted(view, challenge_id):
            yield f"challenge {challenge_id}: {judged[challenge_id]} tries were judged and {row['attempts']} counted"
    told = defaultdict(set)
    for one in view.world.told:
        if one.verdict in {"accepted", "wrong"}:
            told[one.challenge_id].add(one.answer_id)
    for challenge_id, answer_ids in told.items():
        row = view.rows("verifier.challenge", "challenge_id").get(challenge_id)
        if row is None or len(answer_ids) > row["attempts_max"]:
            yield f"challenge {challenge_id}: callers were told the verdicts of {len(answer_ids)} tries"


def _accepted(view: View, challenge_id: UUID) -> int:
    return len(view.accepted.get(challenge_id, ()))


def requests_come_to_an_end(view: View) -> Iterator[str]:
    """8. Every request ends in a decision or in a dead letter, and so does every record that cannot be read."""
    for request_id, group in view.requests.items():
        if request_id in view.decisions:
            continue
        if any(view.is_dead("risk_evaluator", incoming.record) for incoming in group):
            continue
        assessed = view.assessments.get(request_id, [])
        if not any(view.is_dead("verifier", incoming.record) for incoming in assessed):
            where = "assessed" if assessed else "not even assessed"
            yield f"request {request_id}: neither decided nor a dead letter ({where})"
    for record in view.unread:
        if not any(view.is_dead(service, record) for service in _SERVICES):
            yield f"{record.topic}/{record.partition}/{record.offset}: cannot be read, and is no dead letter"


_SERVICES = ("risk_evaluator", "verifier", "notifier", "enrolment", "exports", "gateway")


def expiry_is_kept(view: View) -> Iterator[str]:
    """12. No answer is judged after the challenge's time, nor is one expired before it, by the database's clock."""
    challenges = view.rows("verifier.challenge", "challenge_id")
    for answer in view.world.table("verifier.answer"):
        challenge = challenges.get(answer["challenge_id"])
        if challenge is not None and answer["judged_at"] > challenge["expires_at"]:
            yield f"challenge {answer['challenge_id']}: an answer was judged after its time"
    by_request = {row["request_id"]: row for row in challenges.values()}
    for decision in view.world.table("verifier.decision"):
        challenge = by_request.get(decision["request_id"])
        if decision["reason"] != "code.expired" or challenge is None:
            continue
        if decision["decided_at"] < challenge["expires_at"]:
            yield f"request {decision['request_id']}: expired before its time"
