"""The places that people would be known at, had the new policy cut their addresses. Pure, and all in memory."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

from services.risk_evaluator.decide import PLACE_WRITTEN_EVERY

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from countersign.policy import PlaceRules

_NEVER = timedelta(0)


class Use:
    """When a user was first and last let in from a place."""

    __slots__ = ("first", "last")

    def __init__(self, at: datetime) -> None:
        self.first = self.last = at


class Places:
    """Places by account, place and user, as `store` keeps them in the database, with the same few rules."""

    def __init__(self, rules: PlaceRules) -> None:
        self._rules = rules
        self._uses: dict[UUID, dict[str, dict[UUID, Use]]] = {}
        self._forgotten: defaultdict[UUID, list[tuple[UUID | None, str | None, datetime]]] = defaultdict(list)

    def is_known(self, account_id: UUID, place: str | None, user_id: UUID, now: datetime) -> bool:
        """Tell whether the place counts for a user at that moment, as the statement `LOAD` does."""
        if place is None:
            return False
        users = self._uses.get(account_id, {}).get(place, {})
        own = self._rules.scope == "user"
        return any(self._counts(use, now) for by, use in users.items() if not own or by == user_id)

    def learn(self, account_id: UUID, place: str, user_id: UUID, at: datetime) -> bool:
        """Remember a granted login, as `LEARN` does; return False if its place was forgotten since."""
        if self._is_forgotten(account_id, place, user_id, at):
            return False
        users = self._uses.setdefault(account_id, {}).setdefault(place, {})
        use = users.get(user_id)
        if use is None or (self._rules.life_max > _NEVER and use.first <= at - self._rules.life_max):
            users[user_id] = Use(at)
            return True
        use.first = min(use.first, at)
        if at >= use.last + PLACE_WRITTEN_EVERY:
            use.last = at
        return True

    def forget(self, account_id: UUID, user_id: UUID | None, place: str | None, at: datetime) -> None:
        """Forget places; `place` None: all. It may be cut otherwise than ours: what overlaps it is forgotten."""
        self._forgotten[account_id].append((user_id, place, at))
        for known, users in self._uses.get(account_id, {}).items():
            if _overlap(place, known):
                for by in [by for by, use in users.items() if user_id in {None, by} and use.last <= at]:
                    del users[by]

    def _counts(self, use: Use, now: datetime) -> bool:
        idle, life = self._rules.forget_after, self._rules.life_max
        return (idle == _NEVER or use.last > now - idle) and (life == _NEVER or use.first > now - life)

    def _is_forgotten(self, account_id: UUID, place: str, user_id: UUID, at: datetime) -> bool:
        return account_id in self._forgotten and any(
            at <= forgotten_at and by in {None, user_id} and _overlap(network, place)
            for by, network, forgotten_at in self._forgotten[account_id]
        )


def contains(outer: str | None, inner: str | None) -> bool:
    """Return True if every address of `inner` is one of `outer`; None is no place and contains nothing."""
    if outer is None or inner is None:
        return False
    one, other = ip_network(outer), ip_network(inner)
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type] # of one version


def _overlap(forgotten: str | None, place: str) -> bool:
    return forgotten is None or ip_network(forgotten).overlaps(ip_network(place))
