"""The runtime's own limits with their sources, for `limits` of every service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.database import leases
from countersign.runtime.database.budget import LIMIT, Budget
from countersign.runtime.due_work import own_tables
from countersign.runtime.folding import whole_letters
from countersign.runtime.publishing import partition_queue, publisher
from countersign.runtime.settings import ConnectionSettings, HttpSettings, Limit, ServiceSettings, TraceSettings
from countersign.runtime.tracing import exporting
from countersign.runtime.web import connections, http

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from countersign.runtime.retention import Rule


def runtime_limits(settings: ServiceSettings) -> Iterator[Limit]:
    """Return the limits of leases, of publishing and of every listener: connections, and how long one may keep us."""
    yield from leases.limits(settings.leases)
    yield from retention_limits(own_tables.RULES)
    yield from _publishing()
    yield from _connections(settings)
    yield from _traces(settings.traces)
    for name, most in (("source", whole_letters.WHOLE_OF_SOURCE_MAX), ("topic", whole_letters.WHOLE_OF_TOPIC_MAX)):
        source = "chosen: enough to redrive after a bug; of a flood the rest is kept as key, hash, length and cause"
        yield Limit(f"dead_letters.whole_of_{name}_hourly_max", str(most), source)
    waiting = "chosen: five minutes of 66 grants a second; with more that wait for a key, their partition waits"
    yield Limit("dead_letters.waiting_of_topic_hourly_max", str(whole_letters.WAITING_MAX), waiting)
    for name, seconds, source in (
        ("headers", connections.HEADERS_SECONDS_MAX, "chosen: below the 20 s of Apache's mod_reqtimeout"),
        ("idle", connections.IDLE_SECONDS_MAX, "chosen: as nginx; longer than the 60 s of proxies, which close first"),
        ("linger", connections.LINGER_SECONDS_MAX, "chosen: somebody who still sends a body can read the answer"),
    ):
        yield Limit(f"connections.{name}_seconds_max", f"{seconds:.0f} s", source)
    yield Limit(
        "connections.taken_bytes_min",
        f"{connections.STALL_BYTES_MIN} in {connections.STALL_SECONDS:.0f} s",
        "Apache's mod_reqtimeout, the other way round: 500 bytes a second of an answer",
    )
    if isinstance(getattr(settings, "http", None), HttpSettings):
        yield Limit("bodies.bytes_max", str(http.BODY_BYTES_MAX), "chosen: as long as a record")
        yield Limit("bodies.seconds_max", f"{http.BODY_SECONDS_MAX:.0f} s", "chosen: 64 KiB over a bad line")


def _traces(traces: TraceSettings) -> Iterator[Limit]:
    about = type(traces).model_fields["queue_spans_max"].description or ""
    yield Limit("traces.queue_spans_max", str(traces.queue_spans_max) if traces.endpoint else "off", about)
    for name, seconds, source in (
        ("stop_seconds_max", exporting.STOP_SECONDS_MAX, "chosen: a service ends at once, whatever a collector does"),
        ("export_seconds_max", exporting.EXPORT_SECONDS_MAX, "chosen: tries of one batch; OpenTelemetry's own is 10 s"),
        ("log_every_seconds", exporting.LOG_EVERY_SECONDS, "chosen: lost spans are counted, and told now and then"),
    ):
        yield Limit(f"traces.{name}", f"{seconds:.0f} s", source)


def connection_limit(budget: Budget) -> Limit:
    """Return how many connections to PostgreSQL a process may hold, and for what."""
    return Limit(LIMIT, str(budget.connections), f"chosen: {', '.join(budget.parts())}; PostgreSQL has 100 by default")


def _publishing() -> Iterator[Limit]:
    for name, value, source in (
        ("rows_max", f"{publisher.ROWS_MAX}", "chosen: what a process publishes in less than a second"),
        (
            "partition_queue.rows_max",
            f"{partition_queue.WAITING_MAX}",
            "chosen: rows of a partition in memory; more wait in the outbox",
        ),
        ("stalled_seconds", f"{publisher.STALLED_SECONDS:g} s", "chosen: a broker acknowledges in milliseconds"),
        ("stop_seconds_max", f"{publisher.STOP_SECONDS_MAX:g} s", "chosen: what is left goes to the next process"),
    ):
        yield Limit(f"publishing.{name}", value, source)


def _connections(settings: ServiceSettings) -> Iterator[Limit]:
    for name in type(settings).model_fields:
        part = getattr(settings, name)
        inner = part if isinstance(part, ConnectionSettings) else getattr(part, "connections", None)
        if isinstance(inner, ConnectionSettings):
            prefix = "connections" if inner is part else f"{name}.connections"
            for field_name, field in type(inner).model_fields.items():
                yield Limit(f"{prefix}.{field_name}", str(getattr(inner, field_name)), field.description or "")


def retention_limits(rules: Iterable[Rule]) -> Iterator[Limit]:
    """Return how long the rows of each table stay."""
    for rule in rules:
        yield Limit(f"{rule.name or rule.table}.kept", _shown(rule.kept), rule.why)


def _shown(kept: timedelta | None) -> str:
    if kept is None:
        return "no limit"
    return f"{kept.days} days" if kept.days and not kept.seconds else f"{kept.total_seconds():.0f} s"
