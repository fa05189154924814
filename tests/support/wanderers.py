"""People whose addresses change, and what is right of their log-ins under two prefixes: by sets of text, with no rule.

500 accounts of two people, a log-in of one of them in each round. Each round depends on the rounds before it only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in from where; `finishes`: the code, if one is asked for, is entered."""

    account_id: UUID
    user_id: UUID
    ip: str | None
    finishes: bool
    request_id: UUID = field(default_factory=uuid4)


@dataclass
class Account:
    """An account with its two people and where they are."""

    number: int
    two_factor: bool
    account_id: UUID = field(default_factory=uuid4)
    users: tuple[UUID, UUID] = field(default_factory=lambda: (uuid4(), uuid4()))
    net: int = 0
    host: int = 1


def drawn(*what: object) -> int:
    """Return a number that is the same in every run."""
    return int.from_bytes(sha256(repr(what).encode()).digest()[:4])


class Wanderers:
    """The generator. `old` and `new` count what comes out under /32 and under /24; it keeps what it did."""

    def __init__(self, accounts: int, seed: str) -> None:
        self._seed = seed
        self.accounts = [Account(number, two_factor=number % 10 != 0) for number in range(accounts)]
        self._addresses: set[tuple[UUID, str]] = set()
        self._nets: set[tuple[UUID, str]] = set()
        self.changes: Counter[tuple[str, str]] = Counter()

    def logins(self, number: int) -> Iterator[Login]:
        """Yield the log-ins of a round: call `follow` with each before the next round."""
        for account in self.accounts:
            dice = drawn(self._seed, account.number, number)
            match dice % 10:
                case 5 | 6 | 7:
                    account.host = 1 + dice // 10 % 250
                case 8:
                    account.net, account.host = dice // 10 % 250, 1 + dice // 2500 % 250
                case _:
                    pass
            ip = f"5.{account.number % 200}.{account.net}.{account.host}"
            finishes = dice // 1000 % 8 != 0
            yield Login(account.account_id, account.users[dice // 7 % 2], None if dice % 10 == 9 else ip, finishes)

    def follow(self, login: Login, account: Account) -> bool:
        """Count a log-in under both prefixes, and return whether it is granted."""
        net = None if login.ip is None else login.ip.rpartition(".")[0]
        old = self._outcome(account, login.ip, self._addresses)
        new = self._outcome(account, net, self._nets)
        self.changes[old, new] += 1
        granted = old == "allow" or login.finishes
        if granted and login.ip is not None and net is not None:
            self._addresses.add((account.account_id, login.ip))
            self._nets.add((account.account_id, net))
        return granted

    def learned(self) -> set[tuple[UUID, str]]:
        """Return the places that the running service knows by now."""
        return {(account_id, f"{address}/32") for account_id, address in self._addresses}

    @staticmethod
    def _outcome(account: Account, place: str | None, known: set[tuple[UUID, str]]) -> str:
        if not account.two_factor:
            return "allow"
        return "allow" if place is not None and (account.account_id, place) in known else "challenge"
