"""Whether the provider answers at all, as /readyz tells it."""

from __future__ import annotations

import pytest
import structlog
from prometheus_client import CollectorRegistry, Gauge

from countersign.runtime.watching.health import Health
from services.notifier.model import Answer, Receipt
from services.notifier.provider import UNANSWERED_SECONDS_MAX, Provider

AWAY = Receipt(Answer.NOT_SENT, "provider.unreachable")
SILENT = Receipt(Answer.IN_DOUBT, "provider.timeout")
ACCEPTED = Receipt(Answer.ACCEPTED)
THROTTLED = Receipt(Answer.NOT_SENT, "provider.throttled")
LATE = Receipt(Answer.NOT_SENT, "claim.late")


def a_provider() -> tuple[Provider, Health]:
    health = Health()
    health.tell("start", None)
    return Provider(health, Gauge("stopped", "", registry=CollectorRegistry()), structlog.get_logger()), health


def _hear(provider: Provider, *receipts: Receipt) -> None:
    for seconds, receipt in enumerate(receipts):
        provider.heard(receipt, float(seconds))


@pytest.mark.parametrize(
    ("receipts", "away"),
    [
        ((AWAY, AWAY), False),
        ((AWAY, AWAY, AWAY), True),
        ((SILENT, AWAY, SILENT), True),
        ((AWAY, AWAY, ACCEPTED, AWAY), False),
        ((AWAY, AWAY, THROTTLED, AWAY), False),
        ((AWAY, AWAY, LATE, AWAY), True),
        ((AWAY, AWAY, AWAY, ACCEPTED), False),
    ],
)
def test_three_unanswered_texts_in_a_row_are_an_outage(receipts: tuple[Receipt, ...], away: bool) -> None:
    """An answer of any kind ends it; a text that never reached the network says nothing."""
    provider, health = a_provider()
    _hear(provider, *receipts)
    assert ("sns.answers" in health.reasons) is away
    assert provider.room(64, 4.0) == 64, "each text waits for itself"


def test_nothing_is_known_when_nobody_has_tried_for_long() -> None:
    """The texts that waited are over: whether SNS is back shows with the next one."""
    provider, health = a_provider()
    _hear(provider, AWAY, AWAY, AWAY)
    provider.room(64, 2.0 + UNANSWERED_SECONDS_MAX)
    assert health.reasons
    provider.room(64, 2.1 + UNANSWERED_SECONDS_MAX)
    assert not health.reasons
