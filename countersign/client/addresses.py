"""Whose address a request came from, when proxies stand between."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from countersign.contract.hints import host_and_port

if TYPE_CHECKING:
    from collections.abc import Sequence

Network = IPv4Network | IPv6Network

# A longer chain than any real one is somebody trying something; the walk stops there.
HOPS_MAX = 20


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Return the address that can be vouched for: the rightmost one that is no trusted proxy.

    `peer` is the other end of the connection; `forwarded` the X-Forwarded-For header lines in the order they came;
    `trusted` the networks of the proxies that we run. A proxy appends the address it was asked from, so the walk goes
    from the right and ends at the first address that is not ours: what stands left of it, anybody can have written.
    None, where that entry is no address (the proxy hid it), or where there is nothing left of our own proxies.
    """
    hop = _address(peer)
    if hop is None or not _is_trusted(hop, trusted):
        return _told(hop)
    entries = [entry.strip() for line in forwarded for entry in line.split(",")]
    for entry in reversed(entries[-HOPS_MAX:]):
        hop = _address(host_and_port(entry)[0])
        if hop is None or not _is_trusted(hop, trusted):
            return _told(hop)
    return None


def _is_trusted(address: IPv4Address | IPv6Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted if network.version == address.version)


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        # A dual-stack socket shows an IPv4 peer as ::ffff:a.b.c.d.
        return address.ipv4_mapped or address
    return address


def _told(address: IPv4Address | IPv6Address | None) -> str | None:
    return None if address is None else str(address)
