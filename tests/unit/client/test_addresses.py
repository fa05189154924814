"""Forwarded chains: what can be believed of them, and what anybody can have written."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.client.addresses import HOPS_MAX, client_address

NONE: list[str] = []
OURS = [ip_network(text) for text in ("10.0.0.0/8", "192.0.2.1/32", "2001:db8:1::/48")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # No proxy: the header is anybody's word.
        ("81.2.69.142", NONE, "81.2.69.142"),
        ("81.2.69.142", ["8.8.8.8"], "81.2.69.142"),
        ("81.2.69.142", ["10.0.0.1, 8.8.8.8"], "81.2.69.142"),
        ("2a00:1450::1", ["8.8.8.8"], "2a00:1450::1"),
        # One proxy of ours: the rightmost entry is who asked it.
        ("10.0.0.1", ["81.2.69.142"], "81.2.69.142"),
        ("10.0.0.1", ["8.8.8.8, 81.2.69.142"], "81.2.69.142"),
        ("10.0.0.1", ["127.0.0.1,10.0.0.9,  81.2.69.142 "], "81.2.69.142"),
        ("192.0.2.1", ["2a00:1450::1"], "2a00:1450::1"),
        ("2001:db8:1::5", ["81.2.69.142"], "81.2.69.142"),
        # Several of ours: on to the first that is not.
        ("10.0.0.1", ["81.2.69.142, 10.0.0.2"], "81.2.69.142"),
        ("10.0.0.1", ["8.8.8.8, 81.2.69.142, 192.0.2.1, 10.0.0.2"], "81.2.69.142"),
        ("10.0.0.1", ["8.8.8.8, 192.0.2.2, 10.0.0.2"], "192.0.2.2"),
        # Several header lines are one list, in order.
        ("10.0.0.1", ["8.8.8.8", "81.2.69.142", "10.0.0.2"], "81.2.69.142"),
        ("10.0.0.1", ["81.2.69.142", "8.8.8.8"], "8.8.8.8"),
        # A dual-stack socket's spelling of our proxy, and of the client.
        ("::ffff:10.0.0.1", ["81.2.69.142"], "81.2.69.142"),
        ("10.0.0.1", ["::ffff:81.2.69.142"], "81.2.69.142"),
        # Ports and brackets, as some proxies write them.
        ("10.0.0.1", ["81.2.69.142:51234"], "81.2.69.142"),
        ("10.0.0.1", ["[2a00:1450::1]:51234"], "2a00:1450::1"),
        ("10.0.0.1", ["[2a00:1450::1]"], "2a00:1450::1"),
        # Hidden, broken or missing: nobody to vouch for, and never an entry further left, nor the proxy itself.
        ("10.0.0.1", NONE, None),
        ("10.0.0.1", [""], None),
        ("10.0.0.1", ["unknown"], None),
        ("10.0.0.1", ["81.2.69.142, unknown"], None),
        ("10.0.0.1", ["81.2.69.142, _hidden, 10.0.0.2"], None),
        ("10.0.0.1", ["81.2.69.142,"], None),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], None),
        ("10.0.0.1", ["81.2.69.142 8.8.8.8"], None),
        ("10.0.0.1", ["fe80::1%eth0"], None),
        ("10.0.0.1", ["010.1.1.1"], None),
        ("10.0.0.1", ["' OR 1=1"], None),
        # No peer (a Unix socket), or one that is no address.
        (None, ["81.2.69.142"], None),
        ("unix:", ["81.2.69.142"], None),
        ("fe80::1%eth0", ["81.2.69.142"], None),
    ],
)
def test_the_rightmost_hop_that_is_not_ours(peer: str | None, forwarded: list[str], address: str | None) -> None:
    """Each step of the walk."""
    assert client_address(peer, forwarded, OURS) == address


def test_nothing_is_believed_unless_a_proxy_is_named() -> None:
    """As shipped no proxy is trusted, loopback included."""
    assert client_address("127.0.0.1", ["81.2.69.142"], []) == "127.0.0.1"


def test_a_chain_longer_than_any_real_one_ends_in_nobody() -> None:
    """The walk is bounded; it does not fall back to an entry further left."""
    ours = ["10.0.0.2"] * HOPS_MAX
    assert client_address("10.0.0.1", [", ".join(["81.2.69.142", *ours])], OURS) is None
    assert client_address("10.0.0.1", [", ".join(["81.2.69.142", *ours[1:]])], OURS) == "81.2.69.142"


@given(st.lists(st.text(max_size=30), max_size=8), st.ip_addresses(v=4))
def test_what_the_client_writes_never_moves_the_answer(forged: list[str], real: IPv4Address) -> None:
    """Whatever stands left of what our proxy appended changes nothing."""
    appended = [*forged, str(real)]
    honest = client_address("10.0.0.1", [str(real)], OURS)
    if honest is not None:
        assert client_address("10.0.0.1", [", ".join(appended)], OURS) == honest
        assert client_address("10.0.0.1", appended, OURS) == honest
