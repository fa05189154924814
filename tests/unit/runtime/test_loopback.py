"""No service sends bearers, texts or keys in plain text to another machine, unless a switch says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from countersign.runtime.program.service import EXIT_SETTINGS, main
from countersign.runtime.settings import Part, ServiceSettings
from services.notifier.wiring import SERVICE


class _Somewhere(Part):
    endpoint_url: str | None = None


class _Settings(ServiceSettings):
    jwks_url: str
    somewhere: _Somewhere = _Somewhere()


_DSN = "postgresql://countersign:very-secret@db.example:5432/countersign"
_KEYS = json.dumps([{"key_id": "k-1", "secret": "QUFB" * 10 + "QUE=", "active_from": "2026-01-01T00:00:00Z"}])
_WEAK = ("", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer")
_SASL = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "verifier", "sasl_password": "very-secret"}


def _settings(**over: Any) -> _Settings:
    return _Settings(
        **{
            "postgres": {"dsn": "postgresql://countersign@localhost/countersign"},
            "kafka": {"bootstrap_servers": "localhost:9092"},
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
        {"jwks_url": "http://verifier:8081/jwks", "plain_text_in_a_network_of_our_own": True},
        *({"kafka": {"bootstrap_servers": address}} for address in ("127.0.0.1:1,[::1]:2", "localhost", "127.0.0.9")),
        {"kafka": {"bootstrap_servers": "kafka:9093", "security_protocol": "SSL"}},
        {"kafka": {**_SASL, "bootstrap_servers": "a:9093,b:9093", "security_protocol": "SASL_SSL"}},
        {"kafka": {"bootstrap_servers": "kafka:9092"}, "plain_text_in_a_network_of_our_own": True},
        {"postgres": {"dsn": "postgresql://countersign:x@127.0.0.1:5432,[::1]:5433/countersign"}},
        {"postgres": {"dsn": "postgresql://countersign@/countersign?host=/var/run/postgresql"}},
        {"postgres": {"dsn": "postgresql://countersign:x@%2Fvar%2Frun/countersign"}},
        *({"postgres": {"dsn": f"{_DSN}?sslmode={mode}"}} for mode in ("require", "verify-ca", "verify-full")),
        {"postgres": {"dsn": _DSN}, "plain_text_in_a_network_of_our_own": True},
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
        ({"kafka": {"bootstrap_servers": "kafka:9092"}}, "kafka.security_protocol: SASL_SSL or SSL, as kafka is not"),
        ({"kafka": {"bootstrap_servers": "127.0.0.1:1,10.0.0.7:9092"}}, "as 10.0.0.7 is not this machine"),
        (
            {"kafka": {**_SASL, "bootstrap_servers": "kafka:9092", "security_protocol": "SASL_PLAINTEXT"}},
            "kafka.security_protocol",
        ),
        *(({"postgres": {"dsn": f"{_DSN}{mode}"}}, "postgres.dsn: ?sslmode=verify-full") for mode in _WEAK),
        ({"postgres": {"dsn": "postgresql://c:very-secret@127.0.0.1,db.example/countersign"}}, "postgres.dsn"),
        ({"postgres": {"dsn": "postgresql://c:very-secret@/countersign?host=db.example"}}, "postgres.dsn"),
        ({"postgres": {"dsn": "postgresql://c:very-secret@127.0.0.1.example/countersign"}}, "postgres.dsn"),
    ],
)
def test_plain_text_to_another_machine_is_refused(over: dict[str, Any], name: str) -> None:
    """The text names the setting and the switch, and quotes no password."""
    with pytest.raises(ValidationError) as refused:
        _settings(**over)
    assert name in str(refused.value)
    assert "very-secret" not in str(refused.value)
    assert "plain_text_in_a_network_of_our_own" in str(refused.value)


def test_what_the_environment_adds_to_an_address_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DSN without a host is completed by PGHOST, and one without sslmode by PGSSLMODE."""
    without = {"postgres": {"dsn": "postgresql:///countersign"}}
    assert _settings(**without)
    monkeypatch.setenv("PGHOST", "db.example")
    with pytest.raises(ValidationError, match=r"postgres\.dsn"):
        _settings(**without)
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert _settings(**without)


def test_a_service_does_not_start_with_plain_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it is told at once, on standard error, with exit code 78."""
    told = {
        "POSTGRES__DSN": _DSN,
        "KAFKA__BOOTSTRAP_SERVERS": "kafka:9092",
        "SNS__ENDPOINT_URL": "http://sns.example",
        "JWKS_URL": "http://verifier:8081/jwks",
        "POLICY_FILE": "deploy/policy/local.yaml",
        "TEXT__HOST": "localhost",
        "CODE_KEYS": _KEYS,
        "NUMBER_KEYS": _KEYS,
    }
    for name, value in told.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
    assert main(SERVICE, ["run"]) == EXIT_SETTINGS
    said = capsys.readouterr().err
    for name in ("postgres.dsn:", "kafka.security_protocol:", "sns.endpoint_url: https"):
        assert name in said
    assert "very-secret" not in said
