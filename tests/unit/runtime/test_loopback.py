"""No service sends bearers, texts or keys in plain text to another machine, unless a switch says so."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from countersign.runtime.settings import Part, ServiceSettings


class _Somewhere(Part):
    endpoint_url: str | None = None


class _Settings(ServiceSettings):
    jwks_url: str
    somewhere: _Somewhere = _Somewhere()


def _settings(**over: Any) -> _Settings:
    return _Settings(
        **{
            "postgres": {"dsn": "postgresql://countersign@localhost/countersign"},
            "kafka": {"bootstrap_servers": "kafka:9092"},
            "jwks_url": "https://verifier.example/.well-known/jwks.json",
            **over,
        }
    )


@pytest.mark.parametrize(
    "over",
    [
        {},
        {"jwks_url": "http://127.0.0.1:8081/jwks"},
        {"jwks_url": "http://[::1]:8081/jwks"},
        {"jwks_url": "http://localhost:8081/jwks"},
        {"somewhere": {"endpoint_url": "https://sns.eu-central-1.amazonaws.com"}},
        {"jwks_url": "http://verifier:8081/jwks", "plain_http_in_a_network_of_our_own": True},
    ],
)
def test_encrypted_or_on_this_machine(over: dict[str, Any]) -> None:
    """As are the settings of the local stack, and of production."""
    assert _settings(**over)


@pytest.mark.parametrize(
    ("over", "name"),
    [
        ({"jwks_url": "http://verifier:8081/jwks"}, "jwks_url"),
        ({"jwks_url": "HTTP://verifier:8081/jwks"}, "jwks_url"),
        ({"jwks_url": "http://127.0.0.1.example/jwks"}, "jwks_url"),
        ({"jwks_url": "http://localhost@evil.example/jwks"}, "jwks_url"),
        ({"somewhere": {"endpoint_url": "http://sns.eu-central-1.amazonaws.com"}}, "somewhere.endpoint_url"),
        ({"somewhere": {"endpoint_url": "http://10.0.0.7:5000"}}, "somewhere.endpoint_url"),
    ],
)
def test_plain_text_to_another_machine_is_refused(over: dict[str, Any], name: str) -> None:
    """The text names the setting and the switch."""
    with pytest.raises(ValidationError) as refused:
        _settings(**over)
    assert name in str(refused.value)
    assert "plain_http_in_a_network_of_our_own" in str(refused.value)
