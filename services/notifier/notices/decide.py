"""What is told, to whom, for how long, and how much of it. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.contract import (
    AccessDenied,
    AccessGranted,
    NumberReplaced,
    NumberReset,
    TwoFactorDisabled,
    TwoFactorEnabled,
)
from services.notifier.decide import COUNTRY, LATE, NUMBER_DAY, NUMBER_UNKNOWN, PAUSED, STATE_AFTER, segments_left
from services.notifier.model import NO_PAUSES, Pauses, State
from services.notifier.notices.model import Delay, Happening, Kind, Send, Settlement, Withhold

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from datetime import datetime

    from countersign.policy import TextLimits
    from countersign.runtime.messages.record import Incoming
    from services.notifier.model import Receipt
    from services.notifier.notices.model import Candidate, Pace, Step

LIFE = timedelta(hours=1)  # chosen: what is older is no news, and a replay must not send it again
SHARE = 5  # chosen: at most a fifth of the sending rate, so that codes never wait for notices
PAUSE_SECONDS_MAX = 60.0  # of an hour: one that did not leave gets several dozen tries
KEY_PAUSE = timedelta(seconds=30)  # chosen: a key that was forgotten may come at any moment
KEY_UNKNOWN = "key.unknown"
_NEW_COMPUTER = frozenset({"ip.new", "ip.absent"})

Setting = TwoFactorEnabled | TwoFactorDisabled | NumberReplaced | NumberReset
Decision = AccessGranted | AccessDenied


def of_setting(incoming: Incoming[Setting], now: datetime) -> Happening | None:
    """Return what to tell of a changed setting; None: nothing any more, or there is no number to tell it to."""
    event = incoming.event
    void_at = incoming.made_at + LIFE
    if void_at <= now:
        return None
    match event:
        case TwoFactorEnabled():
            return Happening(event.event_id(), Kind.TWO_FACTOR_ENABLED, event.account_id, void_at)
        case TwoFactorDisabled():
            return Happening(event.event_id(), Kind.TWO_FACTOR_DISABLED, event.account_id, void_at)
        case NumberReplaced() | NumberReset():
            if event.user_id is None or event.old_number_id is None:
                return None
            kind = Kind.NUMBER_REPLACED if isinstance(event, NumberReplaced) else Kind.NUMBER_RESET
            return Happening(event.event_id(), kind, event.account_id, void_at, event.user_id, event.old_number_id)


def of_decision(incoming: Incoming[Decision], now: datetime) -> Happening | None:
    """Return what to tell of a decision: a log-in with a code from a new computer, or wrong codes to the last try."""
    event = incoming.event
    void_at = incoming.made_at + LIFE
    kind = _kind_of(event)
    if kind is None or event.number_id is None or event.challenge_id is None or void_at <= now:
        return None
    return Happening(
        event.event_id(), kind, event.account_id, void_at, event.user_id, event.number_id, event.challenge_id
    )


def _kind_of(event: Decision) -> Kind | None:
    if isinstance(event, AccessDenied):
        return Kind.WRONG_CODES if event.reason == "code.exhausted" else None
    is_told = event.action == "login" and event.method == "sms" and not _NEW_COMPUTER.isdisjoint(event.reasons)
    return Kind.LOGIN if is_told else None


def rate_of(texts_per_second: int) -> int:
    """Return how many notices may be claimed within a second, by all processes together."""
    return max(1, texts_per_second // SHARE)


def room_for(pace: Pace, rate: int, provider_room: int) -> int:
    """Return how many notices may leave now; none while codes wait."""
    return 0 if pace.codes_wait else max(0, min(rate - pace.claimed, provider_room))


def plan(
    candidates: Sequence[Candidate],
    left: Mapping[bytes, int],
    limits: TextLimits,
    *,
    keys: Container[str],
    room: int,
    now: datetime,
    pauses: Pauses = NO_PAUSES,
) -> list[Step]:
    """Judge notices that are due, in order; those that find no room stay due as they are.

    `left` says how many notices left within a day, by the number's fingerprint; each that may leave counts. A number
    that none of the `keys` opens waits and takes no room: others' notices would wait for it.
    """
    counted = dict(left)
    steps: list[Step] = []
    for candidate in candidates:
        if pauses.cover(candidate.account_id, candidate.number.country if candidate.number else None):
            steps.append(Withhold(candidate, State.SUPPRESSED, PAUSED))
            continue
        step = _judge(candidate, counted, limits, now)
        if isinstance(step, Send) and step.number.key_id not in keys:
            step = Delay(candidate, now + KEY_PAUSE, KEY_UNKNOWN)
        if isinstance(step, Send):
            if room == 0:
                continue
            room -= 1
            counted[step.number.fingerprint] = counted.get(step.number.fingerprint, 0) + 1
        steps.append(step)
    return steps


def _judge(candidate: Candidate, counted: Mapping[bytes, int], limits: TextLimits, now: datetime) -> Step:
    number = candidate.number
    if candidate.void_at <= now:
        return Withhold(candidate, State.SUPPRESSED, candidate.held_by or LATE)
    if number is None or number.user_id != candidate.user_id:
        return Withhold(candidate, State.REFUSED, NUMBER_UNKNOWN)
    if limits.countries is not None and number.country not in limits.countries:
        return Withhold(candidate, State.SUPPRESSED, COUNTRY)
    if counted.get(number.fingerprint, 0) >= limits.notices_daily_max:
        return Withhold(candidate, State.SUPPRESSED, NUMBER_DAY)
    return Send(candidate, number)


def attempted(candidate: Candidate, receipt: Receipt, segments: int) -> Settlement:
    """Return what an attempt came to. `candidate` is as it was before the claim."""
    claims, state = candidate.claims + 1, STATE_AFTER[receipt.answer]
    return Settlement(
        candidate.key,
        claims,
        state,
        receipt.reason,
        segments=segments_left(state, segments),
        message_id=receipt.message_id,
        pause_seconds=min(PAUSE_SECONDS_MAX, 2.0 ** min(claims - 1, 10)) if state is State.DUE else 0.0,
    )
