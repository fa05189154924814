"""Half a log-in, or one that would silently not be used, is refused in words; passwords are masked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from countersign.client import ProducerSettings
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.settings import ServiceSettings

SCRAM = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "verifier",
    "sasl_password": "very-secret",
}
TOKEN = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_token_callback": "a.b:token"}


def connection(**over: Any) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers="kafka:9092", **over)


def test_plain_text_without_a_log_in_is_the_default() -> None:
    """As before: an address is enough."""
    assert connection().arguments() == {"bootstrap_servers": "kafka:9092", "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism: needed"),
        ({**SCRAM, "sasl_password": None}, "sasl_password: needed with sasl_mechanism SCRAM-SHA-512"),
        ({**SCRAM, "sasl_username": None}, "sasl_username: needed"),
        ({**SCRAM, "security_protocol": "SSL"}, "sasl_mechanism: not used with security_protocol SSL"),
        ({"sasl_password": "x"}, "sasl_password: not used with security_protocol PLAINTEXT"),
        ({**SCRAM, "sasl_token_callback": "a:b"}, "sasl_token_callback: not used with sasl_mechanism SCRAM-SHA-512"),
        ({**TOKEN, "sasl_token_callback": None}, "sasl_token_callback: needed with sasl_mechanism OAUTHBEARER"),
        ({**TOKEN, "sasl_password": "x"}, "sasl_password: not used with sasl_mechanism OAUTHBEARER"),
        ({**TOKEN, "sasl_token_callback": "not a path"}, "sasl_token_callback"),
        ({"ca": "ca.pem"}, "ca: not used with security_protocol PLAINTEXT"),
        ({"security_protocol": "SSL", "certificate_key": "k.pem"}, "certificate: needed with certificate_key"),
        ({"security_protocol": "TLS"}, "security_protocol"),
        ({**SCRAM, "sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
        ({"sasl_pasword": "x"}, "sasl_pasword"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], words: str) -> None:
    """The text names the setting and quotes no password."""
    with pytest.raises(ValidationError) as refused:
        connection(**given)
    assert words in str(refused.value)
    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize("given", [SCRAM, TOKEN, {"security_protocol": "SSL", "certificate": "c.pem"}])
def test_what_fits_together_is_taken(given: dict[str, Any]) -> None:
    """From the other side."""
    assert connection(**given)


def test_a_password_shows_nowhere() -> None:
    """Neither in a repr nor in JSON; aiokafka is given it."""
    held = connection(**{**SCRAM, "security_protocol": "SASL_PLAINTEXT"})
    assert "very-secret" not in f"{held!r} {held} {held.model_dump_json()}"
    assert held.arguments()["sasl_plain_password"] == "very-secret"


def test_a_service_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By names that begin with COUNTERSIGN_KAFKA__."""
    monkeypatch.setenv("COUNTERSIGN_POSTGRES__DSN", "postgresql://127.0.0.1/countersign")
    monkeypatch.setenv("COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS", "kafka:9093")
    for name, value in SCRAM.items():
        monkeypatch.setenv(f"COUNTERSIGN_KAFKA__{name.upper()}", value)
    kafka = ServiceSettings().kafka  # type: ignore[call-arg] # the rest is in the environment
    assert (kafka.sasl_username, kafka.session_timeout_ms) == ("verifier", 10_000)
    assert kafka.encrypted
    assert kafka.logs_in


def test_programs_are_told_by_names_like_those_of_stack_env() -> None:
    """Empty ones count as absent, and what is for others is left alone."""
    names = {"KAFKA_BOOTSTRAP_SERVERS": "k:1", "KAFKA_CA": "", "KAFKA_OTHER": "x", "PATH": "/bin"}
    names |= {f"KAFKA_{name.upper()}": value for name, value in SCRAM.items()}
    settings = ProducerSettings.named(names, submit_seconds=3)
    assert (settings.bootstrap_servers, settings.submit_seconds, settings.ca) == ("k:1", 3, None)
    assert settings.sasl_username == "verifier"
