"""What account.settings tells that the rules look at: numbers of users, and what holds their exports back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.contract import (
    ExportsReleased,
    NumberConfirmed,
    NumberProvided,
    NumberReplaced,
    NumberReset,
    PlacesForgotten,
    TwoFactorDisabled,
    reader,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.contract.accounts import Setting
    from countersign.runtime.messages.record import Incoming, Record
    from services.risk_evaluator.model import NumberState

# Somebody who moved a number, or had two-factor turned off, may not carry the contacts away at once.
_HOLDS = (NumberReplaced, NumberReset, TwoFactorDisabled)
parse: Callable[[Record], Incoming[Setting] | None] = reader(
    NumberProvided, NumberConfirmed, NumberReplaced, NumberReset, TwoFactorDisabled, ExportsReleased, PlacesForgotten
)


class SettingsTold:
    """The latest word about each user's number, and when exports were last held."""

    def __init__(self) -> None:
        self._numbers: dict[UUID, NumberState | None] = {}
        self._held: dict[UUID, datetime] = {}  # by user, or by account where two-factor was turned off
        self._users_held: dict[UUID, set[UUID]] = {}

    def take(self, incoming: Incoming[Setting]) -> None:
        """Take in one change."""
        event = incoming.event
        if isinstance(event, _HOLDS):
            held = event.user_id if event.user_id is not None else event.account_id
            self._held[held] = incoming.made_at
            self._users_held.setdefault(event.account_id, set()).add(held)
        if isinstance(event, ExportsReleased):
            for held in self._users_held.pop(event.account_id, ()):
                self._held.pop(held, None)
        if event.user_id is None:
            return
        match event:
            case NumberConfirmed() | NumberReplaced():
                self._numbers[event.user_id] = "confirmed"
            case NumberReset():
                self._numbers[event.user_id] = None
            case NumberProvided() if self._numbers.get(event.user_id) is None:
                self._numbers[event.user_id] = "provided"
            case _:
                pass

    def note_number(self, user_id: UUID, state: NumberState | None) -> None:
        """Take in what a judgement tells of a number. What is known of it already is at least as good."""
        if state is None or self._numbers.get(user_id) is None:
            self._numbers[user_id] = state

    def number_of(self, user_id: UUID) -> tuple[NumberState | None, bool]:
        """Return the state of a user's number, and whether anything was told of it."""
        return self._numbers.get(user_id), user_id in self._numbers

    def held_until(self, account_id: UUID, user_id: UUID, hold: timedelta) -> datetime | None:
        """Return until when a user's exports are held, by a policy that holds them for so long."""
        since = [self._held[one] for one in (account_id, user_id) if one in self._held]
        return max(since) + hold if since else None
