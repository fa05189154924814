"""What the verifier should make of one user's history, told a second time: in memory, and as plainly as can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

LIFE, TRIES, TEXTS, OPEN_AT_A_PLACE = timedelta(minutes=5), 5, 4, 3
PAUSES = {1: timedelta(seconds=30), 2: timedelta(seconds=60), 3: timedelta(seconds=120)}
ALWAYS_IN_FORCE = {"change_number"}


@dataclass
class Failures:
    """Consecutive wrong answers at known, or at new, places."""

    count: int = 0
    last: datetime | None = None

    def until(self, unlocked: datetime | None) -> datetime | None:
        """Return the end of the wait; the far future for a lock, None for no wait at all."""
        if unlocked is not None and self.last is not None and unlocked > self.last:
            return None
        if self.count >= 100:
            return datetime.max.replace(tzinfo=self.last.tzinfo if self.last else None)
        if self.count < 10 or self.last is None:
            return None
        return self.last + timedelta(seconds=min(30 * 2 ** (self.count - 10), 3600))


@dataclass
class Text:
    """A text: its code, when it was issued, what became of it."""

    code: str
    issued: datetime
    state: str = "sending"


@dataclass
class Challenge:
    """A challenge. `decided` is granted or the reason of its denial."""

    request_id: UUID
    challenge_id: UUID
    action: str
    place: str
    known: bool
    number_id: UUID
    opened: datetime
    texts: dict[int, Text] = field(default_factory=dict)
    tries: int = 0
    decided: str | None = None

    @property
    def over_at(self) -> datetime:
        return self.opened + LIFE

    def good(self) -> set[str]:
        """Return the codes of the latest two texts."""
        return {self.texts[send].code for send in sorted(self.texts)[-2:]}


@dataclass
class World:
    """One user: their challenges in order, their counters, their number."""

    number_id: UUID
    number_state: str = "confirmed"
    member: bool = True
    unlocked: datetime | None = None
    challenges: list[Challenge] = field(default_factory=list)
    failures: dict[bool, Failures] = field(default_factory=lambda: {True: Failures(), False: Failures()})
    decided: dict[UUID, str] = field(default_factory=dict)

    def waits(self, *, known: bool, now: datetime) -> bool:
        """Tell whether nothing of that counter is judged now."""
        until = self.failures[known].until(self.unlocked)
        return until is not None and now < until

    def end(self, challenge: Challenge, how: str) -> None:
        """Decide a challenge's request: once."""
        assert challenge.decided is None
        assert challenge.request_id not in self.decided
        challenge.decided = self.decided[challenge.request_id] = how

    def fits(self, challenge: Challenge) -> bool:
        """Tell whether the code went to the number that is still the user's, and in force where it has to be."""
        right = self.member and self.number_id == challenge.number_id and self.number_state in {"provided", "confirmed"}
        return right and (challenge.action not in ALWAYS_IN_FORCE or self.number_state == "confirmed")

    def assess(self, action: str, place: str, *, known: bool, now: datetime) -> str:
        """Return `open`, or why a request is denied; open requests that this one crowds out are ended."""
        if not self.member:
            return "member.unknown"
        if self.number_state not in {"provided", "confirmed"}:
            return "number.missing"
        if action in ALWAYS_IN_FORCE and self.number_state != "confirmed":
            return "number.missing"
        if self.waits(known=known, now=now):
            return "locked"
        here = [c for c in self.challenges if c.place == place and c.decided is None and now < c.over_at]
        here.sort(key=lambda challenge: (challenge.opened, challenge.challenge_id))
        for crowded in here[: max(0, len(here) + 1 - OPEN_AT_A_PLACE)]:
            self.end(crowded, "cancelled")
        return "open"

    def answer(self, challenge: Challenge, code: str, now: datetime) -> str:
        """Return what the claimant is told."""
        if challenge.decided is not None:
            return "over"
        if now >= challenge.over_at:
            self.end(challenge, "code.expired")
            return "over"
        if not self.fits(challenge):
            self.end(challenge, "number.replaced")
            return "over"
        if self.waits(known=challenge.known, now=now):
            return "wait"
        challenge.tries += 1
        counter = self.failures[challenge.known]
        if code in challenge.good():
            counter.count, counter.last = 0, None
            self.end(challenge, "granted")
            return "accepted"
        if self.unlocked is not None and counter.last is not None and self.unlocked > counter.last:
            counter.count = 0
        counter.count, counter.last = counter.count + 1, now
        if challenge.tries == TRIES:
            self.end(challenge, "code.exhausted")
        return "wrong"

    def resend(self, challenge: Challenge, now: datetime) -> str:
        """Return `send`, `later` or `never`."""
        if challenge.decided is None and now >= challenge.over_at:
            self.end(challenge, "code.expired")
        elif challenge.decided is None and not self.fits(challenge):
            self.end(challenge, "number.replaced")
        if challenge.decided is not None:
            return "never"
        if self.waits(known=challenge.known, now=now):
            return "later"
        sent, last_chance = max(challenge.texts), challenge.over_at - timedelta(minutes=1)
        at = challenge.texts[sent].issued + PAUSES.get(sent, LIFE)
        if sent >= TEXTS or at > last_chance or now > last_chance:
            return "never"
        return "later" if now < at else "send"

    def cancel(self, challenge: Challenge, now: datetime) -> bool:
        """Give up; tell whether that was its end."""
        if challenge.decided is not None:
            return challenge.decided == "cancelled"
        self.end(challenge, "code.expired" if now >= challenge.over_at else "cancelled")
        return challenge.decided == "cancelled"

    def deliver(self, challenge: Challenge, send: int, state: str) -> None:
        """Note what became of a text: the first word stands, and a challenge none of whose texts arrives is over."""
        text = challenge.texts[send]
        if text.state != "sending":
            return
        text.state = state
        states = [one.state for one in challenge.texts.values()]
        if challenge.decided is None and all(one in {"refused", "suppressed"} for one in states):
            self.end(challenge, f"sms.{challenge.texts[max(challenge.texts)].state}")

    def expire(self, now: datetime) -> None:
        """End whatever ran out."""
        for challenge in self.challenges:
            if challenge.decided is None and now >= challenge.over_at:
                self.end(challenge, "code.expired")
