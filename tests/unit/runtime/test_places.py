"""Who gets one of a limited number of connections."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from countersign.runtime.web.places import Places, address_of

HERE, THERE = "192.0.2.1", "192.0.2.2"


def test_a_newcomer_gets_the_place_of_the_one_that_has_waited_for_longest() -> None:
    """Half-open connections lose to new ones; whoever is being answered loses to nobody."""
    places: Places[str] = Places(3, 3)
    for name in ("working", "first", "second"):
        assert places.take(name, None) == []
    places.work("working")
    assert places.take("third", None) == ["first"]
    places.wait("second")  # it was answered, and waits again: behind the third
    assert places.take("fourth", None) == ["third"]
    assert places.open == 3


def test_where_all_are_being_answered_a_newcomer_is_refused() -> None:
    """The cap is a cap."""
    places: Places[str] = Places(2, 2)
    for name in ("one", "two"):
        places.take(name, None)
        places.work(name)
    assert places.take("three", None) is None
    places.leave("one")
    places.leave("one")
    assert places.open == 1
    assert places.take("three", None) == []


def test_an_address_takes_its_own_places_only() -> None:
    """At its cap it loses its own connections, and never costs another address one; proxies have no such cap."""
    places: Places[str] = Places(10, 2)
    assert places.take("there", THERE) == []
    assert [places.take(f"here {n}", HERE) for n in range(4)] == [[], [], ["here 0"], ["here 1"]]
    for name in ("here 2", "here 3"):
        places.work(name)
    assert places.take("here 4", HERE) is None
    assert [places.take(f"proxied {n}", None) for n in range(7)] == [[]] * 7
    assert places.take("one more", None) == ["there"]
    assert places.open == 10


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2::3", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("2001:db8:ffff::1", None),
        ("", None),
        (None, None),
    ],
)
def test_what_counts_as_one_address(peer: str | None, address: str | None) -> None:
    """An IPv6 customer has a whole /64; a proxy speaks for many."""
    assert address_of(peer, (ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"))) == address
