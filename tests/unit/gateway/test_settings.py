"""Settings that would let a cookie travel in the clear are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import HttpUrl, ValidationError

from services.gateway.settings import GatewaySettings, origin_of
from services.gateway.visitor import Cookie, Site

GIVEN: dict[str, Any] = {
    "postgres": {"dsn": "postgresql://gateway@127.0.0.1/countersign"},
    "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
    "public_url": "https://login.example.com",
    "console_url": "https://console.example.com",
    "jwks_url": "http://verifier:8081/.well-known/jwks.json",
    "services": {
        "verifier_url": "http://verifier:8081",
        "enrolment_url": "http://enrolment:8082",
        "exports_url": "http://exports:8083",
        "token": "t" * 32,
    },
}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_plain_http_on_this_machine(url: str) -> None:
    """Nobody listens in between."""
    GatewaySettings(**{**GIVEN, "public_url": url})


@pytest.mark.parametrize("url", ["http://login.example.com", "http://10.0.0.1", "http://localhost.example.com"])
def test_plain_http_elsewhere_is_refused(url: str) -> None:
    """Its cookies would be anybody's."""
    for name in ("public_url", "console_url"):
        with pytest.raises(ValidationError, match="https"):
            GatewaySettings(**{**GIVEN, name: url})


def test_no_proxy_and_no_phone_by_default() -> None:
    """Both are for those who ask for them."""
    settings = GatewaySettings(**GIVEN)
    assert settings.trusted_proxies == ()
    assert settings.local is None


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://login.example.com/", "https://login.example.com"),
        ("https://login.example.com:443", "https://login.example.com"),
        ("https://login.example.com:8443/x", "https://login.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_origin_as_browsers_write_it(url: str, origin: str) -> None:
    """Without the scheme's own port."""
    assert origin_of(HttpUrl(url)) == origin


def test_cookies_of_the_two_sites_differ() -> None:
    """Browsers do not tell ports apart; and the prefix asks for Secure."""
    assert Cookie.of(Site.PAGES, secure=True) == Cookie("__Host-session", secure=True)
    assert Cookie.of(Site.CONSOLE, secure=True) == Cookie("__Host-console", secure=True)
    assert Cookie.of(Site.PAGES, secure=False).name == "session"
