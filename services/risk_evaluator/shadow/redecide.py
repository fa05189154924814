"""Go through the log in the order of append times, and judge each recorded request again. Pure.

People are taken to answer as they did: a place is learned from a grant that was recorded. Grants are not verified: who
may write to access.decisions is Kafka's business, and nothing that is done here lets anybody in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from countersign.contract import (
    AccessAssessed,
    AccessDenied,
    AccessGranted,
    AccessRequested,
    PlacesForgotten,
    reader,
    req_of,
)
from countersign.places import place_of
from countersign.runtime.errors import OffContractError
from services.risk_evaluator.decide import NEED_CONFIRMED, assess
from services.risk_evaluator.shadow import settings_told
from services.risk_evaluator.shadow.model import HIDDEN, Tally
from services.risk_evaluator.shadow.places import Places, contains
from services.risk_evaluator.shadow.recorded import Judged, beliefs_of, number_of, outcome_of
from services.risk_evaluator.shadow.settings_told import SettingsTold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from countersign.contract.accounts import Setting
    from countersign.policy import Policy
    from countersign.runtime.messages.record import Incoming, Record
    from services.risk_evaluator.model import Assessment, NumberState
    from services.risk_evaluator.shadow.model import Window

TOPICS = (AccessRequested.topic, AccessAssessed.topic, AccessGranted.topic, PlacesForgotten.topic)
# A request ends within minutes; what is still open after a day was lost, and no decision will come.
OPEN_MAX = timedelta(days=1)

_parse_request = reader(AccessRequested)
_parse_assessed = reader(AccessAssessed)
_parse_decision: Callable[[Record], Incoming[AccessGranted | AccessDenied] | None] = reader(AccessGranted, AccessDenied)


@dataclass(slots=True)
class Case:
    """A request whose end has not been read yet."""

    seen_at: datetime
    request: Incoming[AccessRequested] | None = None
    assessed: Incoming[AccessAssessed] | None = None
    decided: bool = False


class Shadow:
    """Takes records and counts. Holds what is open, and a little for each user and place; never the topics."""

    def __init__(self, policy: Policy, running: Policy, window: Window, examples: int = 3) -> None:
        """Judge by `policy`; `running` is the service's own. So many `examples` of each change are kept."""
        self._policy = policy
        self._running = running
        self._window = window
        self._examples = examples
        self._places = Places(policy.places)
        self._settings = SettingsTold()
        self._cases: dict[UUID, Case] = {}
        self.tally = Tally()

    @property
    def open_requests(self) -> int:
        """Return how many requests are held whose end has not been read."""
        return len(self._cases)

    def take(self, record: Record) -> None:
        """Take in the next record of any of the topics."""
        self._forget_open(record.appended_at)
        try:
            if record.topic == AccessRequested.topic and (asked := _parse_request(record)) is not None:
                self._on_request(asked)
            elif record.topic == AccessAssessed.topic and (assessed := _parse_assessed(record)) is not None:
                self._on_assessed(assessed)
            elif record.topic == AccessGranted.topic and (decision := _parse_decision(record)) is not None:
                self._on_decision(decision)
            elif record.topic == PlacesForgotten.topic and (setting := settings_told.parse(record)) is not None:
                self._on_setting(setting)
        except OffContractError:
            self.tally.unread[record.topic] += 1

    def end(self) -> Tally:
        """Return what it came to; what is open now has not been judged."""
        for case in self._cases.values():
            self._count_open(case)
        self._cases.clear()
        return self.tally

    def _on_request(self, incoming: Incoming[AccessRequested]) -> None:
        case = self._cases.setdefault(incoming.event.request_id, Case(incoming.record.appended_at))
        if case.request is not None:
            self.tally.repeated += 1
            return
        case.request = incoming
        if case.assessed is not None:
            self._on_assessed(case.assessed)

    def _on_assessed(self, incoming: Incoming[AccessAssessed]) -> None:
        event = incoming.event
        case = self._cases.setdefault(event.request_id, Case(incoming.record.appended_at))
        case.assessed = incoming
        if case.request is None or case.decided:
            return
        case.decided = True
        if event.req is not None and event.req != req_of(case.request.record.value or b""):
            self.tally.disputed += 1
            return
        judged = Judged(
            event.outcome, tuple(event.reasons), event.place, event.place_known, event.policy_version, incoming.ce_time
        )
        self._judge(case.request, judged)

    def _on_decision(self, incoming: Incoming[AccessGranted | AccessDenied]) -> None:
        event = incoming.event
        case = self._cases.pop(event.request_id, None)
        if case is None or (case.request is None and case.assessed is None):
            self.tally.grants_without_request += isinstance(event, AccessGranted)
            return
        if case.request is not None and not case.decided:  # its assessment is not in the log
            reasons = tuple(event.reasons)
            known = "ip.known" in reasons
            judged = Judged(outcome_of(reasons), reasons, None, known, None, case.request.record.appended_at)
            self._judge(case.request, judged)
        asked = case.request or case.assessed
        if isinstance(event, AccessGranted) and asked is not None and asked.event.action == "login":
            self._learn(asked.event, incoming.made_at.replace(microsecond=0))  # as a grant's `iat`: whole seconds

    def _learn(self, asked: AccessRequested | AccessAssessed, at: datetime) -> None:
        place = place_of(asked.client.ip, self._policy.places)
        if place is not None:
            self._places.learn(asked.account_id, place, asked.user_id, at)

    def _on_setting(self, incoming: Incoming[Setting]) -> None:
        event = incoming.event
        if isinstance(event, PlacesForgotten):
            self._places.forget(event.account_id, event.user_id, event.place, incoming.made_at)
        else:
            self._settings.take(incoming)

    def _judge(self, incoming: Incoming[AccessRequested], judged: Judged) -> None:
        event, tally = incoming.event, self.tally
        place = place_of(event.client.ip, self._policy.places)
        known, undetermined = self._known(event, place, judged)
        number, told = number_of(event.action, judged.reasons)
        if told and not (number == "provided" and event.action in NEED_CONFIRMED):  # that may be none at all
            self._settings.note_number(event.user_id, number)
        if not self._window.since <= incoming.record.appended_at < self._window.until:
            return
        assumed = False
        if not told:
            number, told = self._settings.number_of(event.user_id)
            if not told:
                number, assumed = "confirmed", True
        anew = self._assess(incoming, judged, place, known, number)
        new = anew.outcome
        tally.changes[event.action, judged.outcome, new] += 1
        tally.policies[judged.policy_version or "not recorded"] += 1
        tally.undetermined += undetermined and new == "challenge" and judged.outcome != "challenge"
        tally.numbers_assumed += assumed and new == "challenge" and judged.outcome != "challenge"
        if new == judged.outcome:
            tally.reasons_alone += set(anew.reasons) != set(judged.reasons)
            return
        kept = tally.examples.setdefault((judged.outcome, new), [])
        if len(kept) < self._examples:
            kept.append(_example(incoming, judged, anew, place))

    def _known(self, event: AccessRequested, place: str | None, judged: Judged) -> tuple[bool, bool]:
        """Return whether the place is known, and whether the log cannot tell because the place is older than it is.

        The service knew more than the log: of a place that it knew, and that nobody was let in from since the log
        begins, the last use was before. That is taken over where the new place holds all of the old one.
        """
        at = judged.at
        if place is None or self._places.is_known(event.account_id, place, event.user_id, at):
            return place is not None, False
        was = judged.place or place_of(event.client.ip, self._running.places)
        if not judged.place_known or was is None:
            return False, False
        anybodys = self._policy.places.scope == "account" or self._running.places.scope == "user"
        if not anybodys or not contains(place, was):
            return False, True
        if not self._places.learn(event.account_id, place, event.user_id, self._window.log_begins):
            return False, False
        if self._places.is_known(event.account_id, place, event.user_id, at):
            self.tally.known_from_before += 1
            return True, False
        return False, False

    def _assess(
        self,
        incoming: Incoming[AccessRequested],
        judged: Judged,
        place: str | None,
        known: bool,
        number: NumberState | None,
    ) -> Assessment:
        event, hold = incoming.event, self._policy.exports.hold
        if hold == self._running.exports.hold:  # then it was as the reasons say
            held = judged.at + timedelta(seconds=1) if "number.recent" in judged.reasons else None
        else:
            held = self._settings.held_until(event.account_id, event.user_id, hold)
        beliefs = beliefs_of(
            event.action, judged.reasons, number=number, exports_held_until=held, place=place, place_known=known
        )
        return assess(incoming, beliefs, self._policy, judged.at)

    def _forget_open(self, now: datetime) -> None:
        while self._cases:
            request_id, case = next(iter(self._cases.items()))
            if case.seen_at > now - OPEN_MAX:
                return
            del self._cases[request_id]
            self._count_open(case)

    def _count_open(self, case: Case) -> None:
        asked = case.request
        if asked is not None and not case.decided and self._window.since <= asked.record.appended_at:
            self.tally.unjudged += asked.record.appended_at < self._window.until


def _example(
    incoming: Incoming[AccessRequested], judged: Judged, anew: Assessment, place: str | None
) -> Mapping[str, Any]:
    """Return what may be shown of a request: ids and reasons; of an address only how it was cut."""
    event = incoming.event
    return {
        "request_id": str(event.request_id),
        "account_id": str(event.account_id),
        "user_id": str(event.user_id),
        "action": event.action,
        "at": incoming.record.appended_at.isoformat(),
        "old_reasons": list(judged.reasons),
        "new_reasons": list(anew.reasons),
        "old_place": _masked(judged.place),
        "new_place": _masked(place),
    }


def _masked(place: str | None) -> str | None:
    return None if place is None else f"{HIDDEN}/{place.rpartition('/')[2]}"
