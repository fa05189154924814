"""Which address counts for a visitor, on the local stack and elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from services.gateway.settings import GatewaySettings
from services.gateway.visitor import address_of
from tests.unit.gateway.test_settings import GIVEN, ON_LOOPBACK

PROXY = "127.0.0.1"


@pytest.mark.parametrize(
    ("given", "headers", "address"),
    [
        (ON_LOOPBACK, {}, PROXY),
        (ON_LOOPBACK, {"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
        (ON_LOOPBACK, {"X-Forwarded-For": ""}, None),
        (ON_LOOPBACK, {"X-Forwarded-For": "unknown"}, None),
        (ON_LOOPBACK, {"Cookie": "computer=198.51.100.23"}, "198.51.100.23"),
        (GIVEN, {}, None),
        (GIVEN, {"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
        (GIVEN, {"Cookie": "computer=198.51.100.23"}, None),
    ],
)
def test_a_proxy_that_says_nothing(given: dict[str, Any], headers: dict[str, str], address: str | None) -> None:
    """Nobody vouches for an address then; only the local stack, which is all on loopback, takes the peer's own."""
    settings = GatewaySettings(**{**given, "trusted_proxies": [f"{PROXY}/32"]})
    transport: Any = SimpleNamespace(get_extra_info=lambda _: (PROXY, 4711), is_closing=lambda: False)
    assert address_of(make_mocked_request("GET", "/", headers=headers, transport=transport), settings) == address
