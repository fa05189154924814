"""compose.yaml, which cannot be tried without images, held against the stack that is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deploy.local.checkout import CHECKOUT
from deploy.local.kafka import OPEN, PROPERTIES
from deploy.local.layout import SERVICES, Layout
from deploy.local.programs import SERVERS, environment, settings_of
from tests.support.containers import IMAGES

if TYPE_CHECKING:
    from pathlib import Path

_COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
# What differs on purpose: containers listen to others than themselves, and no proxy of ours stands before them.
_ONLY_HERE = {
    *("HTTP__HOST", "HEALTH__HOST", "HOST"),
    *("LOCAL__SHOWS_CODES_TO_ANYBODY_WHO_CAN_CONNECT", "PLAIN_TEXT_IN_A_NETWORK_OF_OUR_OWN"),
}
# Kafka asks for a log-in in the stack that is tried; in containers it is open, as the network is closed.
_ONLY_THERE = {"KAFKA__SECURITY_PROTOCOL", "KAFKA__SASL_MECHANISM", "KAFKA__SASL_USERNAME"}
_DIFFERENT = {"TRUSTED_PROXIES"}
_WORDS = {
    "policy": "/app/deploy/policy/local.yaml",
    "gateway": "http://localhost:8080",
    "gateway port": "8080",
    "console": "http://localhost:8090",
    "console port": "8090",
    "verifier": "http://verifier:8081",
    "verifier port": "8081",
    "enrolment": "http://enrolment:8082",
    "enrolment port": "8082",
    "exports": "http://exports:8083",
    "exports port": "8083",
    "sns": "http://sns:5000",
    "seed": "/data/seed.json",
}


def _settings(name: str) -> dict[str, str]:
    told = _COMPOSE["services"][name]["environment"]
    return {key.removeprefix("COUNTERSIGN_"): value for key, value in told.items()}


def test_compose_has_the_same_servers_and_services() -> None:
    """And the one that lays what they need."""
    assert set(_COMPOSE["services"]) == {*SERVERS, *SERVICES, "lay"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_told_the_same(name: str, tmp_path: Path) -> None:
    """Same names; same values, apart from addresses that follow from being a container."""
    here = _settings(name)
    there = {key.removeprefix("COUNTERSIGN_") for key in environment(name, Layout(tmp_path, 8080))}
    assert set(here) - _ONLY_HERE == there - _ONLY_THERE
    assert there > _ONLY_THERE
    expected = settings_of(name, _WORDS)
    assert {key: here[key] for key in expected if key not in _DIFFERENT} == {
        key: value for key, value in expected.items() if key not in _DIFFERENT
    }
    assert here["SECRETS_FILE"] == f"/data/secrets/{name}.json"
    assert _COMPOSE["services"][name]["command"] == [f"services.{name}", "run"]


def test_kafka_is_set_up_alike() -> None:
    """Every property that is no address or folder is the same."""
    told = _COMPOSE["services"]["kafka"]["environment"]
    for line in (PROPERTIES + OPEN).splitlines():
        key, _, value = line.partition("=")
        if "{" not in value:
            assert told[f"KAFKA_{key.upper().replace('.', '_')}"] == value, key


def test_images_are_those_of_the_tests() -> None:
    """One version of each server, whoever starts it."""
    assert {name: _COMPOSE["services"][name]["image"] for name in SERVERS} == IMAGES
    pom = (CHECKOUT / "deploy" / "local" / "pom.xml").read_text()
    assert f"<version>{IMAGES['kafka'].partition(':')[2]}</version>" in pom
    lock = (CHECKOUT / "requirements-local.lock").read_text()
    assert f"moto=={IMAGES['sns'].partition(':')[2]} " in lock


def test_what_the_image_copies_exists() -> None:
    """Each COPY of the Dockerfile names something of this checkout."""
    lines = (CHECKOUT / "deploy" / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert copied
    assert all((CHECKOUT / name).exists() for name in copied)
