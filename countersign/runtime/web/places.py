"""Who may have one of a limited number of connections, and who has to give one up for a newcomer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Holder = TypeVar("Holder")

IPV6_PREFIX = 64  # the smallest network that a customer gets (RFC 6177, RFC 7421): one machine has all its addresses


@dataclass(slots=True)
class _Share(Generic[Holder]):
    """Places of everybody or of one address. `waiting` is in the order in which they began to wait."""

    most: int
    open: int = 0
    waiting: dict[Holder, None] = field(default_factory=dict)


class Places(Generic[Holder]):
    """`all_max` places, of which one address holds `address_max` at most; without an address only the first counts."""

    def __init__(self, all_max: int, address_max: int) -> None:
        self._address_max = address_max
        self._all: _Share[Holder] = _Share(all_max)
        self._of_address: dict[str, _Share[Holder]] = {}
        self._holders: dict[Holder, str | None] = {}

    @property
    def open(self) -> int:
        """Return how many places are taken."""
        return self._all.open

    def take(self, holder: Holder, address: str | None) -> list[Holder] | None:
        """Take a place as one who waits. Return who lost theirs for it, or None if there is none to be had."""
        lost: list[Holder] = []
        own = self._of_address.get(address) if address is not None else None
        for share in (own, self._all):
            if share is None or share.open < share.most:
                continue
            longest = next(iter(share.waiting), None)
            if longest is None:
                return None
            self.leave(longest)
            lost.append(longest)
            break  # a place of that address is one of all, too
        if self._all.open >= self._all.most:
            return None
        self._holders[holder] = address
        if address is not None:
            self._of_address.setdefault(address, _Share(self._address_max))
        for share in self._shares(address):
            share.open += 1
        self.wait(holder)
        return lost

    def wait(self, holder: Holder) -> None:
        """Take down that we wait for this one from now on."""
        if holder in self._holders:
            for share in self._shares(self._holders[holder]):
                share.waiting.pop(holder, None)
                share.waiting[holder] = None

    def work(self, holder: Holder) -> None:
        """Take down that this one waits for us: it keeps its place."""
        if holder in self._holders:
            for share in self._shares(self._holders[holder]):
                share.waiting.pop(holder, None)

    def leave(self, holder: Holder) -> None:
        """Free a place; nothing happens the second time."""
        if holder not in self._holders:
            return
        address = self._holders.pop(holder)
        for share in self._shares(address):
            share.open -= 1
            share.waiting.pop(holder, None)
        if address is not None and self._of_address[address].open == 0:
            del self._of_address[address]

    def _shares(self, address: str | None) -> tuple[_Share[Holder], ...]:
        return (self._all,) if address is None else (self._all, self._of_address[address])


def address_of(peer: str | None, exempt: Sequence[IPv4Network | IPv6Network] = ()) -> str | None:
    """Return what counts as one address: an IPv4 address or an IPv6 /64; None for proxies, who speak for many."""
    if peer is None:
        return None
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in exempt):
        return None
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, IPV6_PREFIX), strict=False))
    return str(address)
