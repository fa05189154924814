"""What each service says that its outcomes lead to: what reaches people or lets them in is forbidden in a replay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from countersign.runtime.folding.effect import Effect
from services.enrolment.fold import DecisionsFold, MembersFold
from services.enrolment.model import Confirmed, Member, MemberChanged, Profile
from services.enrolment.model import Decided as DecidedHere
from services.exports.fold import ObeyDecisions
from services.exports.model import Denied as ExportDenied
from services.exports.model import Granted as ExportGranted
from services.exports.model import Late
from services.gateway.fold import EndSessions
from services.gateway.model import Ending
from services.notifier.fold import Challenges
from services.notifier.model import Dispatch
from services.notifier.notices.fold import DecisionNotices, SettingNotices
from services.notifier.notices.model import Happening, Kind
from services.risk_evaluator.fold import Answer, AssessRequests
from services.risk_evaluator.model import Disputed, Forgetting, Lesson
from services.risk_evaluator.places import ForgetPlaces, LearnPlaces
from services.verifier.fold_assessments import AssessmentFold
from services.verifier.fold_deliveries import DeliveryFold
from services.verifier.model import Allow, Asked, Delivered, Denied, Deny, FreshCode, Number, Open, Send, Taken
from tests.support.events import a_record, an_access_assessed, an_access_requested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.contract import Outcome, Reason

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ONE, TWO = UUID(int=1), UUID(int=2)
TEXT, GRANT = Effect("text", forbidden=True), Effect("grant", forbidden=True)
EXPORT: Any = object()  # what is denied or granted does not matter here


def answer(outcome: Outcome, reasons: Sequence[Reason]) -> Answer:
    event = an_access_assessed(outcome=outcome, reasons=list(reasons))
    return Answer(event, b"", None, a_record(an_access_requested()), None)


def taken(ending: Allow | Deny | Open) -> Taken:
    return Taken(an_access_assessed(), (), ending)


def dispatch(*, late: bool) -> Dispatch:
    return Dispatch((ONE, 1), b"", ONE, ONE, ONE, NOON, b"", None, late=late, reserved=False)


def delivered(ending: Denied | None) -> Delivered:
    return Delivered(ONE, Send(1, NOON, "refused"), ASKED, ending)


def decided(replaces: UUID | None, *, confirms: bool = True) -> DecidedHere:
    confirmed = Confirmed(number_id=ONE, user_id=ONE, account_id=ONE, replaces=replaces) if confirms else None
    return DecidedHere(request_id=ONE, account_id=ONE, user_id=ONE, closes="granted", confirms=confirmed)


def changed(spent: UUID | None) -> MemberChanged:
    return MemberChanged(Member(ONE, ONE, 1, Profile("owner", "Ada")), spent)


OPENED = Open(Number(ONE, ONE, "confirmed", ""), FreshCode("1", b""))
ASKED = Asked(ONE, ONE, ONE, "login", "digest", ())
CASES = {
    "assessed challenge": (AssessRequests, answer("challenge", ["ip.new"]), TEXT),
    "assessed allow": (AssessRequests, answer("allow", ["ip.known"]), GRANT),
    "assessed deny": (AssessRequests, answer("deny", ["ip.new", "number.missing"]), Effect("denied number.missing")),
    "disputed": (AssessRequests, Disputed(ONE), Effect("request disputed")),
    "learned": (
        LearnPlaces,
        Lesson(account_id=ONE, place="p", taught_by=ONE, granted_at=NOON),
        Effect("place learned"),
    ),
    "forgotten": (
        ForgetPlaces,
        Forgetting(account_id=ONE, user_id=None, place=None, forgotten_at=NOON),
        Effect("places forgotten"),
    ),
    "challenge opened": (AssessmentFold, taken(OPENED), TEXT),
    "granted at once": (AssessmentFold, taken(Allow()), GRANT),
    "denied at once": (AssessmentFold, taken(Deny("request.stale")), Effect("denied request.stale")),
    "text settled": (DeliveryFold, delivered(None), Effect("text settled as refused")),
    "text lost": (DeliveryFold, delivered(Denied(ASKED, "sms.refused")), Effect("denied sms.refused")),
    "text due": (Challenges, dispatch(late=False), TEXT),
    "text late": (Challenges, dispatch(late=True), Effect("text suppressed late")),
    "notice of a decision": (DecisionNotices, Happening(ONE, Kind.LOGIN, ONE, NOON), TEXT),
    "notice of a setting": (SettingNotices, Happening(ONE, Kind.TWO_FACTOR_ENABLED, ONE, NOON), TEXT),
    "number replaced": (DecisionsFold, decided(TWO), TEXT),
    "number confirmed": (DecisionsFold, decided(None), Effect("number confirmed")),
    "request closed": (DecisionsFold, decided(None, confirms=False), Effect("request closed as granted")),
    "member set": (MembersFold, changed(None), Effect("member set")),
    "member approved": (MembersFold, changed(TWO), Effect("member set by a code")),
    "export granted": (ObeyDecisions, ExportGranted(EXPORT), Effect("grant obeyed", forbidden=True)),
    "export denied": (ObeyDecisions, ExportDenied(EXPORT, "locked", None), Effect("export denied locked")),
    "export late": (ObeyDecisions, Late(EXPORT), Effect("export ended late")),
    "sessions of a user": (EndSessions, Ending("k", ONE, ONE, None, NOON), Effect("sessions ended of a user")),
    "sessions of an account": (EndSessions, Ending("k", ONE, None, None, NOON), Effect("sessions ended of an account")),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_each_outcome_has_its_effect(case: str) -> None:
    """A text, a grant and what leads to one further on are forbidden; the rest is counted by its name."""
    fold, outcome, effect = CASES[case]
    made: Any = fold.__new__(fold)
    assert made.effect(outcome) == effect
