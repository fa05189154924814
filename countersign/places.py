"""What place an address is: the network that the policy cuts it to, or none."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from countersign.contract.hints import address_of

if TYPE_CHECKING:
    from countersign.policy import PlaceRules

# RFC 6052, 2.1: a network that only speaks IPv6 reaches IPv4 through these; the last 32 bits are the IPv4 address.
_TRANSLATED = IPv6Network("64:ff9b::/96")


def place_of(ip: str | None, rules: PlaceRules) -> str | None:
    """Return the place as text (`203.0.113.7/32`), or None where the address tells no two people apart.

    IPv4 written as IPv6 is IPv4. Text that is no address, a zoned address and one in `rules.unusable` are no place.
    """
    address = unmapped(ip)
    if address is None:
        return None
    if any(address in network for network in rules.unusable if network.version == address.version):
        return None
    prefix = rules.prefix_v4 if address.version == 4 else rules.prefix_v6  # noqa: PLR2004 - the version of IP
    host_bits = address.max_prefixlen - prefix
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{prefix}"


def unmapped(ip: str | None) -> IPv4Address | IPv6Address | None:
    """Return the address with mapped (RFC 4291, 2.5.5.2) and translated (RFC 6052) IPv4 as IPv4; None if it is none."""
    try:
        address = address_of(ip or "")
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _TRANSLATED else address
