"""Hosts and origins, by meaning."""

from __future__ import annotations

import pytest

from services.gateway.hosts import is_same_host, is_same_origin

HTTPS, HTTP, V6 = "https://login.example.com", "http://127.0.0.1:8080", "http://[::1]"


@pytest.mark.parametrize(
    ("written", "origin", "same"),
    [
        ("login.example.com", HTTPS, True),
        ("login.example.com:443", HTTPS, True),
        ("LOGIN.Example.com", HTTPS, True),
        ("login.example.com.", HTTPS, True),
        ("Login.example.com.:443", HTTPS, True),
        ("login.example.com:", HTTPS, True),
        ("login.example.com:80", HTTPS, False),
        ("login.example.com:8443", HTTPS, False),
        ("login.example.com..", HTTPS, False),
        ("login.example.com.evil.example", HTTPS, False),
        ("evil.example", HTTPS, False),
        ("login.example.com@evil.example", HTTPS, False),
        ("login.example.com/", HTTPS, False),
        ("login.example.com:443:443", HTTPS, False),
        ("login.example.com:\u0664\u0664\u0663", HTTPS, False),
        ("", HTTPS, False),
        ("127.0.0.1:8080", HTTP, True),
        ("127.0.0.1", HTTP, False),
        ("[::1]", V6, True),
        ("[0:0:0:0:0:0:0:1]:80", V6, True),
        ("[::2]", V6, False),
        ("[::1", V6, False),
    ],
)
def test_a_host_is_compared_by_meaning(written: str, origin: str, same: bool) -> None:
    """Case, a trailing dot and the scheme's own port make no other host; anything else does."""
    assert is_same_host(written, origin) is same
    assert is_same_origin(f"{origin.partition(':')[0].upper()}://{written}", origin) is same


@pytest.mark.parametrize("written", ["http://login.example.com", "null", "login.example.com", "https:x"])
def test_another_scheme_is_another_origin(written: str) -> None:
    """And so is what is no origin."""
    assert not is_same_origin(written, HTTPS)
