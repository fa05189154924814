"""What browsers are handed out: the same for the same form, and worth nothing to another browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from services.gateway.browser_key import DEVICE_COOKIE_CHARACTERS_MAX, DEVICE_LIFE, DEVICES_MAX, BrowserKey
from services.gateway.visitor import is_secret, new_nonce

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY, OTHER = BrowserKey(b"k" * 32), BrowserKey(b"o" * 32)
OLGA, BEN = "olga@example.com", "ben@example.com"


def test_one_form_is_one_session_and_one_request() -> None:
    """The same browser, form and words: the same. Anything else, another server's key included: something else."""
    first = KEY.pending_secret("s", "f", "user", "client")
    assert KEY.pending_secret("s", "f", "user", "client") == first
    secrets = [
        first,
        KEY.pending_secret("t", "f", "user", "client"),
        KEY.pending_secret("s", "g", "user", "client"),
        KEY.pending_secret("s", "f", "another", "client"),
        KEY.pending_secret("s", "f", "user", "another"),
        KEY.pending_secret("s", "f", "userclient"),
        OTHER.pending_secret("s", "f", "user", "client"),
        KEY.signed_in_secret(first),
        KEY.signed_in_secret("s"),
    ]
    assert all(one != other for one, other in combinations(secrets, 2))
    assert all(is_secret(secret) for secret in secrets)
    assert KEY.request_id(first) == KEY.request_id(first) != KEY.request_id(secrets[1])
    assert KEY.request_id(first).version == 4
    assert "kkk" not in repr(KEY)


def test_a_device_cookie_is_of_one_browser_and_one_address() -> None:
    """Forged, cut, changed or somebody else's: the browser is unknown."""
    nonce = new_nonce()
    cookie = KEY.device_cookie("", OLGA, nonce, NOON)
    assert KEY.device_of(cookie, OLGA, NOON) == nonce
    assert KEY.device_of(cookie, BEN, NOON) is None
    assert OTHER.device_of(cookie, OLGA, NOON) is None
    for n in range(len(cookie) - 1):  # the last character holds bits that base64url does not use
        changed = cookie[:n] + ("A" if cookie[n] != "A" else "B") + cookie[n + 1 :]
        assert KEY.device_of(changed, OLGA, NOON) is None, n
    for forged in ("", ".", "x", cookie[:-1], cookie + "A", "é" * 75, "A" * 75, "A" * 10_000, "." * 5_000):
        assert KEY.device_of(forged, OLGA, NOON) is None


@pytest.mark.parametrize(
    ("age", "known"),
    [
        (timedelta(0), True),
        (-timedelta(seconds=9), True),
        (DEVICE_LIFE - timedelta(seconds=1), True),
        (DEVICE_LIFE, False),
    ],
)
def test_a_device_cookie_lives_as_long_as_that(age: timedelta, known: bool) -> None:
    """By the server's clock, whatever the browser keeps; a log-in begins it anew."""
    nonce = new_nonce()
    cookie = KEY.device_cookie("", OLGA, nonce, NOON)
    assert (KEY.device_of(cookie, OLGA, NOON + age) == nonce) is known
    renewed = KEY.device_cookie(cookie, OLGA, new_nonce(), NOON + age)
    assert KEY.device_of(renewed, OLGA, NOON + age + timedelta(days=1)) is not None
    # A browser that is known keeps its nonce: logging in does not empty its bucket of wrong tries.
    assert (KEY.device_of(renewed, OLGA, NOON + age) == nonce) is known


def test_people_who_share_a_browser_are_each_known() -> None:
    """Up to four; who logged in longest ago goes first, and the cookie stays small."""
    people = [f"p{n}@example.com" for n in range(DEVICES_MAX + 1)]
    cookie = ""
    for person in [*people, people[-1]]:
        cookie = KEY.device_cookie(cookie, person, new_nonce(), NOON)
    assert [KEY.device_of(cookie, person, NOON) is not None for person in people] == [False] + [True] * DEVICES_MAX
    assert len(cookie) <= DEVICE_COOKIE_CHARACTERS_MAX
    assert len({KEY.device_of(cookie, person, NOON) for person in people[1:]}) == DEVICES_MAX
