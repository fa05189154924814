"""Invariants 5, 6, 7 and 14: texts, their limits, and those in doubt."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from countersign.contract import SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime
    from uuid import UUID

    from tests.support.checks.view import TextKey, View

LIFE_LEFT_MIN = timedelta(seconds=5)  # design, invariant 6
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_STATES = {SmsAccepted: "accepted", SmsRefused: "refused", SmsSuppressed: "suppressed", SmsUnknown: "unknown"}


def texts_leave_once(view: View) -> Iterator[str]:
    """5. At most one text a (challenge, send), and none that no challenge asks for."""
    left: Counter[TextKey] = Counter()
    for text in view.world.texts:
        keys = view.codes.get(text.code)
        if keys is None:
            yield "a text with a code that no challenge holds"
        elif len(keys) == 1 and text.may_have_left:
            left[next(iter(keys))] += 1
    for (challenge_id, send), number in left.items():
        if number > 1:
            yield f"challenge {challenge_id}, send {send}: {number} texts"


def claims_leave_time(view: View) -> Iterator[str]:
    """6. Nothing is claimed with under 5 s of its challenge's life left."""
    for row in view.world.table("notifier.dispatch"):
        at = row["counted_at"]
        if at is not None and row["expires_at"] - at < LIFE_LEFT_MIN:
            yield f"challenge {row['challenge_id']}, send {row['send']}: claimed with too little of its life left"


def limits_hold(view: View) -> Iterator[str]:
    """7. Text limits by number and account, by what was counted and by what reached SNS.

    The reserve has limits of its own, and only texts that may use it are counted by it.
    """
    limits = view.world.limits
    rows = [row for row in view.world.table("notifier.dispatch") if row["counted_at"] is not None]
    if any(row["from_reserve"] and not row["reserved"] for row in rows):
        yield "a text was counted by the reserve that it may not use"
    members = Counter(row["account_id"] for row in view.world.table("enrolment.member"))
    for from_reserve in (False, True):
        numbers, accounts = _counted(row for row in rows if row["from_reserve"] is from_reserve)
        hourly = limits.reserve_hourly if from_reserve else limits.number_hourly_max
        daily = limits.reserve_daily if from_reserve else limits.number_daily_max
        base = limits.account_reserve_base if from_reserve else limits.account_hourly_base
        each = limits.account_reserve_per_member if from_reserve else limits.account_hourly_per_member
        for account_id, times in accounts.items():
            most = base + each * members[account_id]
            if _most(times, HOUR) > most:
                yield f"account {account_id}: more than {most} texts in an hour"
        for times in numbers.values():
            if _most(times, HOUR) > hourly:
                yield f"a number was counted {_most(times, HOUR)} texts in an hour"
            if _most(times, DAY) > daily:
                yield f"a number was counted {_most(times, DAY)} texts in a day"
    for times in _counted(rows)[0].values():
        if any(later - earlier < limits.gap for earlier, later in pairwise(times)):
            yield "a number was counted two texts within the gap"
    yield from _arrived(view, {(row["challenge_id"], row["send"]) for row in rows if row["from_reserve"]})


def _counted(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[bytes, list[datetime]], dict[UUID, list[datetime]]]:
    """Return when texts were counted, by number and by account, earliest first."""
    numbers: defaultdict[bytes, list[datetime]] = defaultdict(list)
    accounts: defaultdict[UUID, list[datetime]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["counted_at"]):
        numbers[row["number_fingerprint"]].append(row["counted_at"])
        accounts[row["account_id"]].append(row["counted_at"])
    return numbers, accounts


def _arrived(view: View, from_reserve: AbstractSet[TextKey]) -> Iterator[str]:
    limits = view.world.limits
    by_number: defaultdict[tuple[str, bool], list[float]] = defaultdict(list)
    for text in view.world.texts:
        if text.may_have_left:
            by_number[text.number, bool(view.codes.get(text.code, set()) & from_reserve)].append(text.at)
    for (_, reserve), unsorted in by_number.items():
        times = sorted(unsorted)
        most = max(bisect_right(times, at + HOUR.total_seconds()) - n for n, at in enumerate(times))
        if most > (limits.reserve_hourly if reserve else limits.number_hourly_max):
            yield f"{most} texts for one number reached SNS in an hour"


def _most(times: Sequence[datetime], window: timedelta) -> int:
    """Return the largest number of these times in any window; one that is a window old does not count any more."""
    return max((sum(at <= other < at + window for other in times) for at in times), default=0)


def doubts_are_shown(view: View) -> Iterator[str]:
    """14. A text in doubt is unknown everywhere and for good; every text has the same end wherever one looks."""
    rows = view.rows("notifier.dispatch", "challenge_id", "send")
    sends = view.rows("verifier.send", "challenge_id", "send")
    fates = _fates(view)
    for key, row in rows.items():
        name = f"challenge {key[0]}, send {key[1]}"
        if row["state"] in {"due", "claimed"}:
            yield f"{name}: still {row['state']}"
            continue
        told = {_STATES[type(incoming.event)] for incoming in view.deliveries.get(key, [])}
        if told != {row["state"]}:
            yield f"{name}: {row['state']} in the table, {', '.join(sorted(told)) or 'nothing'} on the topic"
        if key in sends and sends[key]["state"] != row["state"]:
            yield f"{name}: {row['state']} for the notifier, {sends[key]['state']} for the verifier"
        left = fates.get(key, set()) & {"accepted", "in_doubt"}
        if "in_doubt" in left and row["state"] != "unknown":
            yield f"{name}: in doubt at SNS, {row['state']} in the table"
        if left and row["state"] not in {"accepted", "unknown"}:
            yield f"{name}: reached SNS, {row['state']} in the table"
        if row["state"] == "accepted" and "accepted" not in left:
            yield f"{name}: accepted in the table, and SNS took none"
    for key in view.deliveries.keys() - rows.keys():
        yield f"challenge {key[0]}, send {key[1]}: told on the topic, and no row has it"


def _fates(view: View) -> dict[TextKey, set[str]]:
    fates: defaultdict[TextKey, set[str]] = defaultdict(set)
    for text in view.world.texts:
        for key in view.codes.get(text.code, ()):
            fates[key].add(text.fate)
    return dict(fates)
