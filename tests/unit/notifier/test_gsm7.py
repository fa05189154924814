"""The alphabet of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.gsm7 import cut, septets, transliterate

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), max_size=200)


@given(texts)
def test_transliteration_stays_in_the_alphabet(said: str) -> None:
    """Property: whatever comes, what leaves has a place in GSM-7, on one line, and stays itself from then on."""
    plain = transliterate(said)
    assert septets(plain) >= len(plain)
    assert "\n" not in plain
    assert transliterate(plain) == plain


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("Käufer", "Käufer"),
        ("Ka\u0308ufer", "Käufer"),
        ("Łódź \u2013 „wiosna“", 'Lodz - "wiosna"'),
        ("Москва", "Moskva"),
        ("a`b\u202ec\u200d", "a'bc"),
        ("  two   spaces ", "two spaces"),
    ],
)
def test_other_scripts_read_as_near_as_can_be(said: str, plain: str) -> None:
    """Umlauts stay, composed or not; marks that turn writing around are gone."""
    assert transliterate(said) == plain


def test_cut_counts_septets() -> None:
    """A bracket and the euro count two."""
    assert cut("a€b", 2) == "a"
    assert cut("a€b", 3) == "a€"
    assert cut("", 0) == ""


@given(st.ip_addresses())
def test_every_address_is_in_the_alphabet(ip: IPv4Address | IPv6Address) -> None:
    """Property: a place never has to be transliterated."""
    assert transliterate(str(ip)) == str(ip)
