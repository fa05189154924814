"""Every kind of address, and the place it is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.places import place_of
from countersign.policy import PlaceRules, load

SHIPPED = PlaceRules()
LOCAL = load(Path(__file__).parents[3] / "deploy/policy/local.yaml").places


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        # IPv4 is a place by itself.
        ("8.8.8.8", "8.8.8.8/32"),
        ("81.2.69.142", "81.2.69.142/32"),
        ("1.1.1.1", "1.1.1.1/32"),
        ("223.255.255.255", "223.255.255.255/32"),
        # IPv6 is its /64: what follows is chosen by the host and changes.
        ("2a00:1450:4001:830::200e", "2a00:1450:4001:830::/64"),
        ("2A00:1450:4001:0830:FFFF:0:0:1", "2a00:1450:4001:830::/64"),
        ("2001:200::1", "2001:200::/64"),
        ("2606:4700:4700::1111", "2606:4700:4700::/64"),
        # IPv4 in the clothes of IPv6 is the same computer.
        ("::ffff:8.8.8.8", "8.8.8.8/32"),
        ("::ffff:0808:0808", "8.8.8.8/32"),
        ("0:0:0:0:0:ffff:808:808", "8.8.8.8/32"),
        ("64:ff9b::8.8.8.8", "8.8.8.8/32"),
        ("64:ff9b::808:808", "8.8.8.8/32"),
        # ... and so is what is unusable in IPv4.
        ("::ffff:192.168.1.1", None),
        ("::ffff:127.0.0.1", None),
        ("64:ff9b::10.0.0.1", None),
        ("64:ff9b::7f00:1", None),
        # Private, and its neighbours on both sides.
        ("10.0.0.1", None),
        ("9.255.255.255", "9.255.255.255/32"),
        ("11.0.0.0", "11.0.0.0/32"),
        ("172.15.255.255", "172.15.255.255/32"),
        ("172.16.0.0", None),
        ("172.31.255.255", None),
        ("172.32.0.0", "172.32.0.0/32"),
        ("192.168.0.1", None),
        ("192.169.0.1", "192.169.0.1/32"),
        ("fc00::1", None),
        ("fdff::1", None),
        # Shared by the customers of a carrier.
        ("100.63.255.255", "100.63.255.255/32"),
        ("100.64.0.0", None),
        ("100.127.255.255", None),
        ("100.128.0.0", "100.128.0.0/32"),
        # Loopback, link-local, unspecified, multicast, broadcast, reserved.
        ("127.0.0.1", None),
        ("127.255.255.254", None),
        ("::1", None),
        ("169.254.169.254", None),
        ("fe80::1", None),
        ("febf::1", None),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("239.255.255.255", None),
        ("ff02::1", None),
        ("240.0.0.1", None),
        ("255.255.255.255", None),
        # Documentation and benchmarks.
        ("192.0.2.7", None),
        ("198.51.100.7", None),
        ("203.0.113.7", None),
        ("2001:db8::7", None),
        ("3fff::7", None),
        ("198.18.0.1", None),
        # Tunnels and translations that are somebody else's: Teredo, 6to4, local translation, IPv4-compatible.
        ("2001::1", None),
        ("2002:808:808::1", None),
        ("64:ff9b:1::808:808", None),
        ("::8.8.8.8", None),
        # No addresses: zones, octal and other spellings, ports, names, nothing.
        ("fe80::1%eth0", None),
        ("2a00:1450::1%1", None),
        ("010.8.8.8", None),
        ("8.8.8", None),
        ("134744072", None),
        ("0x08080808", None),
        ("8.8.8.8:443", None),
        ("[2606:4700::1]", None),
        ("8.8.8.8/32", None),
        (" 8.8.8.8", None),
        ("localhost", None),
        ("", None),
        (None, None),
    ],
)
def test_an_address_is_its_place_as_shipped(ip: str | None, place: str | None) -> None:
    """Each range from both sides."""
    assert place_of(ip, SHIPPED) == place


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1", "::/64"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("203.0.113.7", "203.0.113.7/32"),
        ("2001:db8::7", "2001:db8::/64"),
        ("64:ff9b::203.0.113.7", "203.0.113.7/32"),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("ff02::1", None),
        ("255.255.255.255", None),
    ],
)
def test_the_local_policy_lets_this_machine_be_a_place(ip: str, place: str | None) -> None:
    """Computers that one acts as are documentation addresses; what can never be a client stays out."""
    assert place_of(ip, LOCAL) == place


@pytest.mark.parametrize(
    ("rules", "ip", "place"),
    [
        (PlaceRules(prefix_v4=24), "81.2.69.142", "81.2.69.0/24"),
        (PlaceRules(prefix_v4=24), "::ffff:81.2.69.142", "81.2.69.0/24"),
        (PlaceRules(prefix_v6=48), "2a00:1450:4001:830::1", "2a00:1450:4001::/48"),
        (PlaceRules(prefix_v6=56), "2a00:1450:4001:8ff::1", "2a00:1450:4001:800::/56"),
    ],
)
def test_the_policy_chooses_how_much_of_an_address_counts(rules: PlaceRules, ip: str, place: str) -> None:
    """Neighbours can be made one place."""
    assert place_of(ip, rules) == place


@given(st.ip_addresses())
def test_a_place_holds_its_address_and_maps_to_itself(address: IPv4Address | IPv6Address) -> None:
    """The place of a place's first address is that place; mapped and plain IPv4 are one."""
    place = place_of(str(address), PlaceRules(unusable=()))
    assert place is not None
    network = ip_network(place)
    assert place_of(str(network.network_address), PlaceRules(unusable=())) == place
    if isinstance(address, IPv4Address):
        assert address in network
        assert place_of(f"::ffff:{address}", SHIPPED) == place_of(f"64:ff9b::{address}", SHIPPED)
        assert place_of(f"::ffff:{address}", SHIPPED) == place_of(str(address), SHIPPED)


@given(st.text(max_size=45))
def test_text_that_is_no_address_is_no_place(text: str) -> None:
    """Nothing raises, whatever comes."""
    try:
        ip_address(text)
    except ValueError:
        assert place_of(text, PlaceRules(unusable=())) is None
