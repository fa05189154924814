"""The name of a process among those of its service."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest

from countersign.runtime.settings import ServiceSettings, instance_of

if TYPE_CHECKING:
    from collections.abc import Iterator

KAFKA = "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tell a process what every one is told, and nothing of its name."""
    monkeypatch.delenv("COUNTERSIGN_INSTANCE", raising=False)
    monkeypatch.delenv("COUNTERSIGN_SECRETS_FILE", raising=False)
    monkeypatch.setenv(KAFKA, "127.0.0.1:9092")
    monkeypatch.setenv("COUNTERSIGN_POSTGRES__DSN", "postgresql://x@127.0.0.1/x")
    return  # type: ignore[return-value] # nothing to undo


@pytest.mark.parametrize("host", ["replica-a", "replica-b"])
def test_two_replicas_that_are_told_nothing_have_two_names(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their hosts': else they throw each other out of the group for ever."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert ServiceSettings().instance == host  # type: ignore[call-arg] # the rest is in the environment


def test_a_name_that_is_given_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the host is called."""
    monkeypatch.setenv("COUNTERSIGN_INSTANCE", "blue-1")
    assert ServiceSettings().instance == "blue-1"  # type: ignore[call-arg] # as above


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Mac.local", "mac-local"),
        ("countersign-risk-evaluator-production-6d4cf56db6-x7k2p", "evaluator-production-6d4cf56db6-x7k2p"),
        ("ü_1", "--1"),
        ("", "0"),
    ],
)
def test_any_host_name_becomes_a_name(host: str, name: str) -> None:
    """As Kafka and the metrics take it; of a long one the end is kept."""
    assert instance_of(host).endswith(name)
    assert re.fullmatch(r"[a-z0-9-]{1,40}", instance_of(host))
