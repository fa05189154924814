"""Invariants 10 and 13: nothing owed, no offset ahead of its work, and nothing changed by reading again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from countersign.contract import (
    AccessGranted,
    MemberRemoved,
    MemberSet,
    NumberReplaced,
    NumberReset,
    PlacesForgotten,
    TwoFactorDisabled,
)
from tests.support.world import READ_BY, has_waited_for_its_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.checks.view import View
    from tests.support.world import Row, World

# What reading again may touch: leases and looks, never what was decided.
_VOLATILE = {"leased_until"}


def nothing_is_owed(view: View) -> Iterator[str]:
    """13. The outbox drains, and no offset is ahead of committed work."""
    for name, rows in view.world.tables.items():
        if name.endswith(".outbox") and rows:
            yield f"{name}: {len(rows)} rows are left"
    yield from _settings_are_published(view)
    for service, topics in READ_BY.items():
        committed = view.world.offsets.get(service, {})
        for topic in topics:
            has_effect = EFFECTS[service, topic](view)
            for incoming in view.events[topic]:
                record = incoming.record
                if record.offset >= committed.get((topic, record.partition), 0):
                    continue
                if not has_effect(incoming.event) and not view.is_dead(service, record):
                    where = f"{topic}/{record.partition}/{record.offset}"
                    yield f"{service}: the committed offset is past {where}, and nothing came of it"


def _settings_are_published(view: View) -> Iterator[str]:
    kept = {(row["account_id"], row["version"]) for row in view.world.table("enrolment.setting_change")}
    told = {(i.event.account_id, i.event.version) for i in view.events["account.settings.v1"]}
    for account_id, version in kept ^ told:
        where = "never published" if (account_id, version) in kept else "published and not kept"
        yield f"account {account_id}: change {version} of its settings was {where}"


def _assessed(view: View) -> Callable[[Any], bool]:
    known = view.rows("risk_evaluator.assessment", "request_id")
    return lambda event: event.request_id in known


def _taught(view: View) -> Callable[[Any], bool]:
    """Tell whether a granted login's place is known, or was forgotten since."""
    places = {(row["account_id"], row["place"]) for row in view.world.table("risk_evaluator.place")}
    forgotten = {row["account_id"] for row in view.world.table("risk_evaluator.forgotten")}
    assessments = view.rows("risk_evaluator.assessment", "request_id")

    def has(event: Any) -> bool:
        assessed = assessments.get(event.request_id)
        if not isinstance(event, AccessGranted) or event.action != "login" or assessed is None:
            return True
        place = assessed["place"]
        return place is None or (event.account_id, place) in places or event.account_id in forgotten

    return has


def _forgotten(view: View) -> Callable[[Any], bool]:
    known = view.rows("risk_evaluator.forgotten", "account_id", "user_id", "place")
    return lambda event: (
        not isinstance(event, PlacesForgotten) or (event.account_id, event.user_id, event.place) in known
    )


def _taken_in(view: View) -> Callable[[Any], bool]:
    known = view.rows("verifier.request", "request_id")
    return lambda event: event.request_id in known


def _delivered(view: View) -> Callable[[Any], bool]:
    known = view.rows("verifier.send", "challenge_id", "send")

    def has(event: Any) -> bool:
        row = known.get((event.challenge_id, event.send))
        return row is None or row["state"] != "sending"

    return has


def _dispatched(view: View) -> Callable[[Any], bool]:
    known = view.rows("notifier.dispatch", "challenge_id", "send")
    return lambda event: (event.challenge_id, event.send) in known


def _enrolled(view: View) -> Callable[[Any], bool]:
    known = view.rows("enrolment.member", "user_id")
    return lambda event: event.user_id in known and known[event.user_id]["version"] >= event.version


def _confirmed(view: View) -> Callable[[Any], bool]:
    """Tell whether an accepted code has confirmed the number that it went to."""
    numbers = view.rows("enrolment.phone_number", "number_id")

    def has(event: Any) -> bool:
        if not isinstance(event, AccessGranted) or event.method != "sms" or event.number_id not in numbers:
            return True
        return bool(numbers[event.number_id]["state"] != "provided")

    return has


def _obeyed(view: View) -> Callable[[Any], bool]:
    known = view.rows("exports.export", "export_id")

    def has(event: Any) -> bool:
        row = known.get(event.request_id) if event.action == "export" else None
        return row is None or row["state"] != "waiting"

    return has


_ENDING = (MemberRemoved, NumberReplaced, NumberReset, PlacesForgotten, TwoFactorDisabled)


def _ended(view: View) -> Callable[[Any], bool]:
    known = {row["event_key"] for row in view.world.table("gateway.ending")}

    def has(event: Any) -> bool:
        if isinstance(event, MemberSet) or not isinstance(event, _ENDING):
            return True
        return f"{event.ce_type}:{event.natural_key()}" in known

    return has


_TOLD_LOGINS = frozenset({"ip.new", "ip.absent"})


def _decision_told(view: View) -> Callable[[Any], bool]:
    """Tell whether a log-in from a new computer, or wrong codes to the last try, led to a notice."""
    notices = view.rows("notifier.notice", "event_id")
    sent = view.rows("notifier.dispatch", "challenge_id", "number_id")

    def has(event: Any) -> bool:
        if isinstance(event, AccessGranted):
            told = event.action == "login" and event.method == "sms" and not _TOLD_LOGINS.isdisjoint(event.reasons)
        else:
            told = event.reason == "code.exhausted"
        return not told or (event.challenge_id, event.number_id) not in sent or event.event_id() in notices

    return has


def _replacement_told(view: View) -> Callable[[Any], bool]:
    """Tell whether the number that was replaced is told so."""
    notices = view.rows("notifier.notice", "event_id", "number_id")
    return lambda event: not isinstance(event, NumberReplaced) or (event.event_id(), event.old_number_id) in notices


EFFECTS: dict[tuple[str, str], Callable[[View], Callable[[Any], bool]]] = {
    ("risk_evaluator", "access.requests.v1"): _assessed,
    ("risk_evaluator", "access.decisions.v1"): _taught,
    ("risk_evaluator", "account.settings.v1"): _forgotten,
    ("verifier", "access.assessments.v1"): _taken_in,
    ("verifier", "sms.deliveries.v1"): _delivered,
    ("notifier", "access.challenges.v1"): _dispatched,
    ("notifier", "access.decisions.v1"): _decision_told,
    ("notifier", "account.settings.v1"): _replacement_told,
    ("enrolment", "account.members.v1"): _enrolled,
    ("enrolment", "access.decisions.v1"): _confirmed,
    ("exports", "access.decisions.v1"): _obeyed,
    ("gateway", "account.members.v1"): _ended,
    ("gateway", "account.settings.v1"): _ended,
}


def changes(before: World, after: World) -> list[str]:
    """10. What reading everything again has changed or sent: nothing, or it is said here."""
    found = []
    for name in sorted(before.tables.keys() | after.tables.keys()):
        was, has_become = (_rows(_without_waits(name, world.table(name))) for world in (before, after))
        gone, come = was - has_become, has_become - was
        if gone or come:
            found.append(f"10: {name}: {gone.total()} rows are gone or changed, {come.total()} are new or changed")
    for topic in sorted(before.records.keys() | after.records.keys()):
        more = len(after.topic(topic)) - len(before.topic(topic))
        if more:
            found.append(f"10: {topic}: {more} records more")
    if len(after.texts) != len(before.texts):
        found.append(f"10: {len(after.texts) - len(before.texts)} texts more")
    return found


def _without_waits(name: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if not has_waited_for_its_key(name, row)]


def rows_gone(before: World, after: World) -> list[str]:
    """10. What reading again has changed of what there was, while others add to it."""
    gone = {name: (_rows(before.table(name)) - _rows(after.table(name))).total() for name in before.tables}
    return [f"10: {name}: {count} rows are gone or changed" for name, count in gone.items() if count]


def _rows(rows: list[Row]) -> Counter[str]:
    return Counter(repr(sorted((k, v) for k, v in row.items() if k not in _VOLATILE)) for row in rows)
