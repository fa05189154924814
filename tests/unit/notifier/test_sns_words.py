"""The provider's words, made ours: the whole table."""

from __future__ import annotations

import aiohttp
import pytest
import structlog
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)
from prometheus_client import CollectorRegistry

from countersign.runtime.watching.health import Health
from services.notifier.counters import Counters
from services.notifier.model import Answer, Receipt
from services.notifier.provider import PROBE_EVERY_SECONDS, Provider
from services.notifier.sns import answer_of_error, answer_of_failure

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("status", "code", "answer", "reason"),
    [
        (400, "OptedOut", Answer.REFUSED, "provider.opted_out"),
        (400, "InvalidParameter", Answer.REFUSED, "provider.refused"),
        (400, "ParameterValueInvalid", Answer.REFUSED, "provider.refused"),
        (400, "InvalidParameterValue", Answer.REFUSED, "provider.refused"),
        (400, "OptedOutException", Answer.REFUSED, "provider.opted_out"),
        (403, "OptedOut", Answer.REFUSED, "provider.opted_out"),
        (400, "NeverHeardOf", Answer.IN_DOUBT, "provider.unforeseen"),
        (400, "", Answer.IN_DOUBT, "provider.unforeseen"),
        (404, "NotFound", Answer.IN_DOUBT, "provider.unforeseen"),
        (408, "RequestTimeout", Answer.IN_DOUBT, "provider.unforeseen"),
        (408, "", Answer.IN_DOUBT, "provider.unforeseen"),
        (413, "", Answer.IN_DOUBT, "provider.unforeseen"),
        (401, "", Answer.STOPPED, "provider.authorization"),
        (401, "NeverHeardOf", Answer.STOPPED, "provider.authorization"),
        (403, "", Answer.STOPPED, "provider.authorization"),
        (403, "NeverHeardOf", Answer.STOPPED, "provider.authorization"),
        (429, "", Answer.NOT_SENT, "provider.throttled"),
        (429, "NeverHeardOf", Answer.NOT_SENT, "provider.throttled"),
        (400, "Throttled", Answer.NOT_SENT, "provider.throttled"),
        (400, "Throttling", Answer.NOT_SENT, "provider.throttled"),
        (429, "ThrottlingException", Answer.NOT_SENT, "provider.throttled"),
        (403, "AuthorizationError", Answer.STOPPED, "provider.authorization"),
        (403, "InvalidSecurity", Answer.STOPPED, "provider.authorization"),
        (403, "SignatureDoesNotMatch", Answer.STOPPED, "provider.authorization"),
        (403, "RequestExpired", Answer.STOPPED, "provider.clock"),
        (500, "InternalError", Answer.IN_DOUBT, "provider.error"),
        (503, "Throttled", Answer.IN_DOUBT, "provider.error"),
        (504, "", Answer.IN_DOUBT, "provider.error"),
        (302, "", Answer.IN_DOUBT, "provider.error"),
    ],
)
def test_an_answer_of_sns(status: int, code: str, answer: Answer, reason: str) -> None:
    """A 5xx is in doubt, whatever word comes with it; a 4xx refuses for good only with a word that SNS documents."""
    assert answer_of_error(status, code, "words") == Receipt(answer, reason)


@pytest.mark.parametrize("message", ["No quota left for account", "Monthly SPEND limit reached"])
def test_the_spending_quota_is_told_in_words(message: str) -> None:
    """SNS has no code for it."""
    assert answer_of_error(400, "UserError", message) == Receipt(Answer.STOPPED, "provider.spend_limit")


REFUSED = aiohttp.ClientConnectorError(None, OSError("refused"))  # type: ignore[arg-type] # nobody looks at the key


@pytest.mark.parametrize(
    ("error", "answer", "reason"),
    [
        (EndpointConnectionError(endpoint_url=URL, error=REFUSED), Answer.NOT_SENT, "provider.unreachable"),
        (ConnectTimeoutError(endpoint_url=URL), Answer.NOT_SENT, "provider.unreachable"),
        (
            EndpointConnectionError(endpoint_url=URL, error=aiohttp.ClientOSError("reset by peer")),
            Answer.IN_DOUBT,
            "provider.reset",
        ),
        (ConnectionClosedError(endpoint_url=URL), Answer.IN_DOUBT, "provider.reset"),
        (ReadTimeoutError(endpoint_url=URL), Answer.IN_DOUBT, "provider.timeout"),
        (HTTPClientError(error="anything"), Answer.IN_DOUBT, "provider.reset"),
        (NoCredentialsError(), Answer.STOPPED, "provider.authorization"),
        (BotoCoreError(), Answer.IN_DOUBT, "provider.reset"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failure_without_an_answer(error: BotoCoreError, answer: Answer, reason: str) -> None:
    """Certainly not sent only where no connection was ever there; the rest is in doubt."""
    assert answer_of_failure(error) == Receipt(answer, reason)


def test_a_stopped_provider_is_tried_by_one_text_at_a_time_and_pages() -> None:
    """Not ready with a reason until a text is taken again; throttling and doubt stop nobody."""
    health, registry = Health(), CollectorRegistry()
    health.tell("start", None)
    provider = Provider(health, Counters(registry).stopped, structlog.get_logger())
    provider.heard(Receipt(Answer.NOT_SENT, "provider.throttled"), 0)
    provider.heard(Receipt(Answer.IN_DOUBT, "provider.error"), 0)
    assert provider.room(64, 0) == 64
    provider.heard(Receipt(Answer.STOPPED, "provider.spend_limit"), 100)
    assert health.reasons == {"sns": "the monthly SMS spending quota is used up: texts wait"}
    assert registry.get_sample_value("countersign_provider_stopped") == 1
    assert provider.room(64, 100) == 0
    assert provider.room(64, 100 + PROBE_EVERY_SECONDS) == 1
    provider.heard(Receipt(Answer.ACCEPTED, message_id="1"), 111)
    assert provider.room(64, 111) == 64
    assert not health.reasons
    assert registry.get_sample_value("countersign_provider_stopped") == 0


@pytest.mark.parametrize("answer", [Answer.IN_DOUBT, Answer.NOT_SENT])
def test_a_stopped_provider_is_tried_every_10_s_whatever_becomes_of_a_try(answer: Answer) -> None:
    """Also while the answer to a try is not there yet, and if it says nothing about the stop."""
    provider = Provider(Health(), Counters(CollectorRegistry()).stopped, structlog.get_logger())
    provider.heard(Receipt(Answer.STOPPED, "provider.authorization"), 100)
    assert provider.room(64, 110) == 1
    provider.claimed(0, 110)
    assert provider.room(64, 111) == 1, "no text was due, so none has tried"
    provider.claimed(1, 111)
    assert provider.room(64, 112) == 0, "its answer is not there yet"
    provider.heard(Receipt(answer, "provider.error"), 113)
    assert provider.room(64, 120.9) == 0
    assert provider.room(64, 121) == 1
    assert provider.room(0, 121) == 0, "who has no room for a text has none for a try"
