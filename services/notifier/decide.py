"""What to do with a challenge that comes in, and with texts that are due. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from countersign.contract.canonical import canonical
from countersign.runtime.errors import KeyUnknownError, OffContractError
from services.notifier.codes import SealBrokenError, open_code
from services.notifier.model import (
    NO_PAUSES,
    Answer,
    Delay,
    Dispatch,
    Pauses,
    Send,
    SentTimes,
    Settlement,
    State,
    Withhold,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from countersign.contract import ChallengeIssued
    from countersign.policy import TextLimits
    from countersign.runtime.messages.record import Incoming
    from services.notifier.model import Candidate, Known, Receipt, Recent, Step, TextKey

LIFE_LEFT_MIN = timedelta(seconds=5)  # design, invariant 6: a later code would arrive dead
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PAUSE_SECONDS_MAX = 8.0  # of a challenge's 300 s: a throttled text gets a dozen more tries

_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)

LATE = "late"
NUMBER_GAP, NUMBER_HOUR, NUMBER_DAY, ACCOUNT_HOUR = "number.gap", "number.hour", "number.day", "account.hour"
COUNTRY = "country"
PAUSED = "paused"
UNSETTLED = "unsettled"
NUMBER_UNKNOWN, NUMBER_UNREADABLE = "number.unknown", "number.unreadable"


def receive(incoming: Incoming[ChallengeIssued], known: Known, now: datetime) -> Dispatch | None:
    """Return the text that a challenge asks for, or None if it is known or nobody can vouch for it any more.

    The code is opened once, to see that number, send, summary and expiry are those it was sealed with, and forgotten.
    Raises OffContractError if they are not, KeyUnknownError for a key that may still come.
    """
    event, raw = incoming.event, incoming.raw()
    key = (event.challenge_id, event.send)
    fingerprint = _fingerprint(raw)
    if key in known.fingerprints:
        if known.fingerprints[key] != fingerprint:
            raise OffContractError("challenge_id, send: known with other contents")
        return None
    late = event.expires_at - now < LIFE_LEFT_MIN
    secret = known.code_secrets.get(event.key_id)
    if secret is None:
        if late:  # unopened it may be anybody's: it neither becomes a text nor takes the place of one
            return None
        raise KeyUnknownError("code_keys", event.key_id)
    try:
        open_code(secret, raw)
    except SealBrokenError:
        raise OffContractError("sealed_code: does not open with the other fields as they are") from None
    return Dispatch(
        key,
        fingerprint,
        event.account_id,
        event.user_id,
        event.number_id,
        event.expires_at,
        incoming.record.value or b"",
        incoming.traceparent,
        late,
        event.reserved,
        event.client.ip,
    )


def _fingerprint(raw: Mapping[str, Any]) -> bytes:
    try:
        return sha256(canonical(raw)).digest()
    except ValueError:
        raise OffContractError(
            "value: expected strings, integers and booleans only; came a number of another kind"
        ) from None


def plan(
    candidates: Sequence[Candidate],
    recent: Recent,
    limits: TextLimits,
    *,
    room: int,
    now: datetime,
    pauses: Pauses = NO_PAUSES,
) -> list[Step]:
    """Judge texts that are due, in order. At most `room` of them leave; the others stay due as they are.

    Each that leaves counts against those after it. One that finds no room has not left, so it counts against none.
    """
    numbers, accounts = dict(recent.numbers), dict(recent.accounts)
    steps: list[Step] = []
    for candidate in candidates:
        number = candidate.number
        left_number = numbers.get(number.fingerprint, SentTimes()) if number else SentTimes()
        left_account = accounts.get(candidate.account_id, SentTimes())
        if pauses.cover(candidate.account_id, number.country if number else None):
            step: Step = Withhold(candidate, State.SUPPRESSED, PAUSED)
        else:
            step = _judge(candidate, left_number, left_account, limits, now)
        if isinstance(step, Send):
            if room == 0:
                continue
            room -= 1
            numbers[step.number.fingerprint] = _with_one_more(left_number, step, now)
            accounts[candidate.account_id] = _with_one_more(left_account, step, now)
        steps.append(step)
    return steps


def _judge(
    candidate: Candidate,
    left_number: SentTimes,
    left_account: SentTimes,
    limits: TextLimits,
    now: datetime,
) -> Step:
    number = candidate.number
    if candidate.expires_at - now < LIFE_LEFT_MIN:
        return Withhold(candidate, State.SUPPRESSED, candidate.held_by or LATE, candidate.expires_at)
    if number is None or number.user_id != candidate.user_id:
        return Withhold(candidate, State.REFUSED, NUMBER_UNKNOWN)
    if limits.countries is not None and number.country not in limits.countries:
        return Withhold(candidate, State.SUPPRESSED, COUNTRY)
    free, reason = _free(left_number.ordinary, left_account.ordinary, ordinary_of(limits, number.account_members))
    from_reserve = candidate.reserved and free > now
    if from_reserve:
        reserve = reserve_of(limits, number.account_members)
        free, reason = min((free, reason), _free(left_number.reserve, left_account.reserve, reserve))
    if free > now:
        return Withhold(candidate, State.SUPPRESSED, reason, free)
    until = max((at + limits.gap for at in (*left_number.ordinary[:1], *left_number.reserve[:1])), default=now)
    return Send(candidate, number, from_reserve) if until <= now else _delay(candidate, until)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many texts may leave: to a number in an hour and in a day, and of an account in an hour."""

    number_hourly: int
    number_daily: int
    account_hourly: int


def ordinary_of(limits: TextLimits, members: int) -> Budget:
    """Return what every text may use, in an account of that many members."""
    account = limits.account_hourly_base + limits.account_hourly_per_member * members
    return Budget(limits.number_hourly_max, limits.number_daily_max, account)


def reserve_of(limits: TextLimits, members: int) -> Budget:
    """Return what only reserved texts may use, on top. A reserved text uses it where the ordinary budget is used up."""
    account = limits.account_reserve_base + limits.account_reserve_per_member * members
    return Budget(limits.reserve_hourly, limits.reserve_daily, account)


def _free(number: Sequence[datetime], account: Sequence[datetime], budget: Budget) -> tuple[datetime, str]:
    """Return since when one more is within the whole budget, and the limit that decides."""
    return max(
        (free_at(number, HOUR, budget.number_hourly), NUMBER_HOUR),
        (free_at(number, DAY, budget.number_daily), NUMBER_DAY),
        (free_at(account, HOUR, budget.account_hourly), ACCOUNT_HOUR),
    )


def _with_one_more(left: SentTimes, step: Send, now: datetime) -> SentTimes:
    if step.from_reserve:
        return SentTimes(left.ordinary, (now, *left.reserve))
    return SentTimes((now, *left.ordinary), left.reserve)


def _delay(candidate: Candidate, until: datetime) -> Step:
    """Let it wait, unless it would then be too late: so it is told now."""
    if candidate.expires_at - until < LIFE_LEFT_MIN:
        return Withhold(candidate, State.SUPPRESSED, NUMBER_GAP, until)
    return Delay(candidate, until, NUMBER_GAP)


def free_at(times: Sequence[datetime], window: timedelta, texts_max: int) -> datetime:
    """Return since when one more is within the limit: as the oldest of the latest `texts_max` leaves the window."""
    if texts_max == 0:
        return _NEVER
    return times[texts_max - 1] + window if len(times) >= texts_max else _EVER


# What the answers of a provider make of a text, with a code or without. Only one that certainly did not leave becomes
# due again.
STATE_AFTER = {
    Answer.ACCEPTED: State.ACCEPTED,
    Answer.REFUSED: State.REFUSED,
    Answer.NOT_SENT: State.DUE,
    Answer.IN_DOUBT: State.UNKNOWN,
    Answer.STOPPED: State.DUE,
}


def segments_left(state: State, segments: int) -> int:
    """Return how many segments left, or may have."""
    return segments if state in {State.ACCEPTED, State.UNKNOWN} else 0


def attempted(candidate: Candidate, receipt: Receipt, segments: int) -> Settlement:
    """Return what an attempt came to. `candidate` is as it was before the claim."""
    claims, state = candidate.claims + 1, STATE_AFTER[receipt.answer]
    return Settlement(
        candidate.key,
        State.CLAIMED,
        claims,
        state,
        receipt.reason,
        segments=segments_left(state, segments),
        message_id=receipt.message_id,
        pause_seconds=pause_of(claims) if state is State.DUE else 0.0,
    )


def withheld(step: Withhold) -> Settlement:
    """Return the end of a text that does not leave."""
    candidate = step.candidate
    return Settlement(candidate.key, State.DUE, candidate.claims, step.state, step.reason, step.retry_at)


def first_of_each(settlements: Iterable[Settlement]) -> list[Settlement]:
    """Return the first settlement of each text and state.

    If settling failed while the database was down, the same text is leased again, so a batch may hold two settlements
    for it; the first one counts.
    """
    found: dict[tuple[TextKey, State, int], Settlement] = {}
    for one in settlements:
        found.setdefault((one.key, one.was, one.claims), one)
    return list(found.values())


def doubted(key: TextKey, claims: int) -> Settlement:
    """Return the end of a claim that nobody settled: the text may have left, so it never leaves again."""
    return Settlement(key, State.CLAIMED, claims, State.UNKNOWN, UNSETTLED, segments=1)


def pause_of(claims: int) -> float:
    """Return the seconds before a text that did not leave is tried again: 1, 2, 4, 8, 8."""
    return min(PAUSE_SECONDS_MAX, 2.0 ** (claims - 1))
