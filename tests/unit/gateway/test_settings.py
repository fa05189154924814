"""Settings that would let a cookie travel in the clear are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import HttpUrl, ValidationError

from services.gateway.hosts import origin_of
from services.gateway.settings import GatewaySettings
from services.gateway.visitor import Cookie, DeviceCookie, Site

GIVEN: dict[str, Any] = {
    "postgres": {"dsn": "postgresql://gateway@127.0.0.1/countersign"},
    "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
    "public_url": "https://login.example.com",
    "console_url": "https://console.example.com",
    "jwks_url": "https://verifier:8081/.well-known/jwks.json",
    "services": {
        "verifier_url": "https://verifier:8081",
        "enrolment_url": "https://enrolment:8082",
        "exports_url": "https://exports:8083",
        "token": "t" * 32,
    },
    "browser_key": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=",
}
# As `make run` tells it.
ON_LOOPBACK: dict[str, Any] = {
    **GIVEN,
    "public_url": "http://127.0.0.1:8080",
    "console_url": "http://localhost:8090",
    "jwks_url": "http://127.0.0.1:8081/jwks",
    "services": {
        **GIVEN["services"],
        **{f"{name}_url": "http://[::1]:8082" for name in ("verifier", "enrolment", "exports")},
    },
    "local": {"sns_url": "http://127.0.0.1:5000"},
}
# As compose.yaml tells it.
IN_CONTAINERS: dict[str, Any] = {
    "plain_text_in_a_network_of_our_own": True,
    **GIVEN,
    "public_url": "http://localhost:8080",
    "console_url": "http://localhost:8090",
    "host": "0.0.0.0",
    "health": {"host": "0.0.0.0"},
    "local": {"sns_url": "http://sns:5000", "shows_codes_to_anybody_who_can_connect": True},
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


@pytest.mark.parametrize("given", [ON_LOOPBACK, IN_CONTAINERS])
def test_the_local_stack_starts_where_only_this_machine_reaches_it(given: dict[str, Any]) -> None:
    """On loopback, and in containers that say so."""
    GatewaySettings(**given)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"public_url": "https://login.example.com"}, "public_url"),
        ({"console_url": "https://console.example.com"}, "console_url"),
        ({"jwks_url": "https://verifier:8081/jwks"}, "jwks_url"),
        ({"host": "0.0.0.0"}, "host"),
        ({"host": "10.0.0.5"}, "host"),
        ({"host": "::"}, "host"),
        ({"health": {"host": "0.0.0.0"}}, "health.host"),
        ({"local": {"sns_url": "https://sns.eu-central-1.amazonaws.com"}}, "local.sns_url"),
        ({"local": {"sns_url": "https://127.0.0.1.example.com"}}, "local.sns_url"),
        ({"services": {**ON_LOOPBACK["services"], "verifier_url": "https://10.0.0.6"}}, "services.verifier_url"),
        ({"services": {**ON_LOOPBACK["services"], "enrolment_url": "https://enrolment"}}, "services.enrolment_url"),
        ({"services": {**ON_LOOPBACK["services"], "exports_url": "https://exports"}}, "services.exports_url"),
    ],
)
def test_everybodys_codes_are_shown_to_nobody_else(change: dict[str, Any], named: str) -> None:
    """One address that is not loopback, whichever, and the gateway does not start with the phone page."""
    with pytest.raises(ValidationError, match="shows_codes_to_anybody_who_can_connect") as told:
        GatewaySettings(**{**ON_LOOPBACK, **change})
    assert f"loopback address: {named}." in str(told.value)


@pytest.mark.parametrize("name", ["public_url", "console_url"])
def test_containers_show_codes_to_no_public_site(name: str) -> None:
    """The switch is for names and listeners inside containers; what people type stays loopback."""
    with pytest.raises(ValidationError, match="shows everybody's codes"):
        GatewaySettings(**{**IN_CONTAINERS, name: "https://login.example.com"})


def test_the_browser_key_is_a_secret_of_32_bytes() -> None:
    """It is asked for, has its length, and is not shown."""
    assert "AAAA" not in repr(GatewaySettings(**GIVEN))
    for given in ({**GIVEN, "browser_key": "QUFB"}, {k: v for k, v in GIVEN.items() if k != "browser_key"}):
        with pytest.raises(ValidationError, match="browser_key"):
            GatewaySettings(**given)


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
    devices = [DeviceCookie.of(site, secure=True).name for site in Site]
    assert devices == ["__Host-device", "__Host-console-device"]
