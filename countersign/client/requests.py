"""Asking for access: an `access.requested` for the program's own outbox, or straight to Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiokafka.errors import KafkaError
from pydantic import Field

from countersign.client.digests import authorised_digest
from countersign.client.grant import Expected
from countersign.clock import id_of, new_id, system_clock
from countersign.contract import AccessRequested, Action, Client, Summary, req_of
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.messages.cloudevents import value_of, write
from countersign.runtime.publishing.acks import Ack
from countersign.runtime.publishing.producer import AiokafkaProducer
from countersign.runtime.publishing.producing import Producing
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.tracing.tracer import Tracer

CLOSE_SECONDS_MAX = 1.0  # ours
AGAIN_AFTER_SECONDS = 0.05  # ours
REFUSED_WITHIN_SECONDS = 1.0  # chosen: a page that waits for a submission still comes in time


class KafkaAwayError(ConnectionError):
    """Kafka did not acknowledge the request in time. It may have arrived: submit the same `BuiltRequest` again."""


class ProducerSettings(KafkaConnection):
    """How to reach Kafka, for programs without an outbox. `submit_seconds` bounds a submission as a whole.

    `options` go to aiokafka's producer as they are, for what the other fields do not say.
    """

    submit_seconds: float = Field(default=10.0, gt=0, le=120)  # a request is denied as stale after 2 minutes
    options: dict[str, Any] = Field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class BuiltRequest:
    """A request and the digest that its grant will carry: keep the digest, or what it was made of."""

    event: AccessRequested
    digest: str

    @property
    def request_id(self) -> UUID:
        """Under this id the verifier answers, and it is the grant's `jti`."""
        return self.event.request_id

    @property
    def req(self) -> str:
        """The grant's `req`: keep it beside the request's id, and give it to `Expected`."""
        return req_of(value_of(self.event))

    @property
    def expected(self) -> Expected:
        """What the grant must say, where the program that asked is the one that acts."""
        return Expected(
            action=self.event.action,
            request_id=self.event.request_id,
            user_id=self.event.user_id,
            account_id=self.event.account_id,
            digest=self.digest,
            req=self.req,
        )


def traceparent_of(request_id: UUID) -> str | None:
    """Return the W3C trace context, sampled, that begins a request's trace: its trace id is the request's id.

    It is the same however often the request is published. None for an id that no trace or span may have (all zeros).
    """
    trace_id, parent_id = request_id.hex, request_id.hex[16:]
    return f"00-{trace_id}-{parent_id}-01" if int(parent_id, 16) else None


class AccessRequests:
    """Builds access requests and, given producer settings, submits them.

    `source` names the program in `ce_source`; `tracer` hears of what was sent. Use it as an async context manager, or
    call `close`, if it submits.
    """

    def __init__(
        self,
        source: str,
        producer: ProducerSettings | None = None,
        *,
        clock: Callable[[], datetime] = system_clock,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._source = source
        self._tracer = tracer
        self._settings = producer
        self._clock = clock
        self._producing: Producing | None = None

    def build(  # noqa: PLR0913 - one argument per field of the event
        self,
        action: Action,
        account_id: UUID | str,
        user_id: UUID | str,
        client: Client,
        authorised: Mapping[str, Any],
        summary: Summary | None = None,
        *,
        request_id: UUID | str | None = None,
        number_id: UUID | str | None = None,
    ) -> BuiltRequest:
        """Return the request with the digest of `authorised` and `summary` in it.

        Where `authorised` holds the request's id, give the same `request_id`; otherwise one is drawn. Ids may be text.
        Raises ValueError (pydantic's ValidationError is one) for what the contract does not take.
        """
        summary = summary or Summary()
        digest = authorised_digest(authorised, summary)
        event = AccessRequested(
            request_id=new_id(self._clock()) if request_id is None else id_of(request_id, "request_id"),
            account_id=id_of(account_id, "account_id"),
            user_id=id_of(user_id, "user_id"),
            action=action,
            client=client,
            digest=digest,
            summary=summary,
            number_id=None if number_id is None else id_of(number_id, "number_id"),
        )
        return BuiltRequest(event, digest)

    def record(self, built: BuiltRequest, now: datetime | None = None, traceparent: str | None = None) -> Outgoing:
        """Return the record for an outbox of the caller's. `now` is its database's time; without it, the clock's.

        Without a `traceparent` the request begins a trace of its own, `traceparent_of` its id.
        """
        trace = traceparent or traceparent_of(built.request_id)
        return write(built.event, source=self._source, time=now or self._clock(), traceparent=trace)

    async def submit(self, built: BuiltRequest, now: datetime | None = None, traceparent: str | None = None) -> None:
        """Hand the request to Kafka and return when all in-sync replicas have it.

        The same request twice is one request. Raises KafkaAwayError, in words; RuntimeError without producer settings.
        """
        settings = self._settings
        if settings is None:
            raise RuntimeError("AccessRequests was made without producer settings: give them, or use record()")
        record = self.record(built, now, traceparent)
        began = self._tracer.clock()
        try:
            async with asyncio.timeout(settings.submit_seconds):
                place = await _acknowledged(self._shared(settings), record)
            self._tracer.sent(record, place, began)
        except (KafkaError, OSError, TimeoutError) as error:
            self._tracer.given_up(record, error, began)
            # Others use the producer at this moment, so nothing is closed here: `Producing` replaces it if it is dead.
            if (why := await _refusal(settings, error)) is not None:
                raise KafkaAwayError(why) from error
            kind = type(error).__name__
            raise KafkaAwayError(
                f"Kafka at {settings.bootstrap_servers} did not take the access request within "
                f"{settings.submit_seconds:g} s ({kind}): is it running, and does this program reach it?"
            ) from error

    async def reach(self) -> None:
        """Return when a broker has answered. Raises KafkaAwayError, in words."""
        settings = self._settings
        if settings is None:
            raise RuntimeError("AccessRequests was made without producer settings")
        try:
            async with asyncio.timeout(settings.submit_seconds):
                await self._shared(settings).reach()
        except (KafkaError, OSError, TimeoutError) as error:
            why = await _refusal(settings, error)
            raise KafkaAwayError(
                why or f"Kafka at {settings.bootstrap_servers} does not answer ({type(error).__name__})"
            ) from error

    async def close(self) -> None:
        """End the producer, waiting at most a second for what is in flight. Another submission opens a new one."""
        producing, self._producing = self._producing, None
        if producing is not None:
            await producing.close(CLOSE_SECONDS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _shared(self, settings: ProducerSettings) -> Producing:
        """Return what all submissions publish with."""
        if self._producing is None:
            self._producing = Producing(
                lambda: AiokafkaProducer(
                    settings, request_timeout_ms=int(settings.submit_seconds * 1000), options=settings.options
                )
            )
        return self._producing


async def _acknowledged(producing: Producing, record: Outgoing) -> object:
    """Return the record's place once all in-sync replicas hold it. Raises what the last try failed with."""
    (answer,) = await producing.publish([record])
    if answer.ack is Ack.REFUSED:  # perhaps another record of the same batch was the reason
        answer = await producing.publish_alone(record)
    while answer.producer_dead:  # it is replaced by now
        await asyncio.sleep(AGAIN_AFTER_SECONDS)
        answer = await producing.publish_alone(record)
    if answer.error is not None:
        raise answer.error
    return answer.place


async def _refusal(settings: ProducerSettings, error: BaseException) -> str | None:
    """Return why the brokers do not let us in, if they answer at once and do not; who submits may be waited for."""
    if isinstance(error, TimeoutError):
        return None
    try:
        async with asyncio.timeout(REFUSED_WITHIN_SECONDS):
            return await refusal_of(settings)
    except TimeoutError:
        return None
