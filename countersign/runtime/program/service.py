"""The frame around every service: one command line, one start, one orderly end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import uvloop

from countersign.runtime.backoff import Backoff
from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.checkpoint import Checkpoint, nothing
from countersign.runtime.database import leases, postgres
from countersign.runtime.database.migration_lock import MigrationBusyError
from countersign.runtime.database.postgres_refusal import words_of_postgres
from countersign.runtime.errors import Kind, kind_of, reason_of
from countersign.runtime.program.arguments import parser_of
from countersign.runtime.program.at_rest import check_letters, folds_of
from countersign.runtime.program.failures import (
    EXIT_ARGUMENTS,
    EXIT_SETTINGS,
    EXIT_UNAVAILABLE,
    CommandError,
    RefusedError,
    naming_postgres,
    print_failure,
    settings_of,
)
from countersign.runtime.program.frame import Command, Frame, Parts, Service
from countersign.runtime.program.limits import connection_limit, runtime_limits
from countersign.runtime.program.machine import Machine
from countersign.runtime.program.service_check import checked
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.replay import program
from countersign.runtime.settings import ServiceSettings
from countersign.runtime.tracing.opening import tracing
from countersign.runtime.watching import logs
from countersign.runtime.watching.health import Health, health_application
from countersign.runtime.watching.metrics import Metrics
from countersign.runtime.web.http import Site
from countersign.runtime.web.listening import listening

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    import structlog

    from countersign.runtime.database.postgres import Pool

__all__ = ["EXIT_SETTINGS", "Frame", "Parts", "Service", "Site", "main", "serving"]

S = TypeVar("S", bound=ServiceSettings)

# What no waiting mends: a wrong password, a role or a database that is not there, an address that cannot be read.
_NOT_LET_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)
# A supervisor that starts us again at once would ask the broker, and fill its log, many times a second.
REFUSED_PAUSE_SECONDS = 5.0


@asynccontextmanager
async def serving(
    service: Service[S], settings: S, *, log: structlog.typing.FilteringBoundLogger, checkpoint: Checkpoint = nothing
) -> AsyncIterator[Machine]:
    """Start a service on its servers; leaving ends it in order: routes, worker, due work, publisher."""
    dsn = settings.postgres.dsn.get_secret_value()
    health, metrics = Health(), Metrics()
    own = settings.health
    health_site = Site(health_application(health, metrics), own.host, own.port, "health", own.connections)
    async with AsyncExitStack() as stack:
        # First, so that it ends last: what the end of the others publishes has spans too.
        tracer = await stack.enter_async_context(
            tracing(service.name, settings.instance, settings.traces, metrics, log)
        )
        await stack.enter_async_context(listening([health_site], metrics, log))
        pool = await _patient_pool(service, settings, health, log)
        stack.callback(pool.terminate)
        publisher = Publisher(
            settings.kafka,
            link=postgres.Link(dsn, service.name, parameters=leases.parameters(settings.leases)),
            health=health,
            metrics=metrics,
            checkpoint=checkpoint,
            log=log,
            lease=settings.leases.outbox,
            tracer=tracer,
        )
        frame = Frame(settings, pool, publisher, health, metrics, log, checkpoint, tracer)
        parts = await stack.enter_async_context(service.wire(frame))
        machine = Machine(service.name, frame, parts)
        await stack.enter_async_context(machine.running())
        await stack.enter_async_context(listening(parts.sites, metrics, log))
        health.tell("start", None)
        named_by = "settings" if "instance" in settings.model_fields_set else "host name"
        log.info("service_started", instance=settings.instance, instance_named_by=named_by)
        try:
            yield machine
        finally:
            health.tell("stop", "stopping")
    log.info("service_ended")


async def _patient_pool(
    service: Service[S], settings: S, health: Health, log: structlog.typing.FilteringBoundLogger
) -> Pool:
    dsn, parameters = settings.postgres.dsn.get_secret_value(), leases.parameters(settings.leases)
    backoff = Backoff()
    while True:
        try:
            return await postgres.open_pool(dsn, service.name, service.budget.pool, parameters=parameters)
        except _NOT_LET_IN as error:
            raise RefusedError("; ".join(words_of_postgres(error)), EXIT_SETTINGS) from error
        except Exception as error:
            if kind_of(error) is not Kind.INFRASTRUCTURE:
                raise
            health.tell("postgres", reason_of(error))
            log.warning("start_waits", error=type(error).__name__)
            await asyncio.sleep(backoff.next())


async def _run(service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger) -> int:
    """Serve until SIGTERM and return the exit status: EXIT_SETTINGS, after a pause, if a server does not let us in."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if (why := await refusal_of(settings.kafka)) is not None:
        return await _refused(service.name, why, stop)
    try:
        await _until_stopped(service, settings, log, stop)
    except RefusedError as error:
        return await _refused(service.name, str(error), stop)
    return 0


async def _until_stopped(
    service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger, stop: asyncio.Event
) -> None:
    """Serve until `stop`. A start that waits for a server is given up at once."""
    started = asyncio.Event()

    async def serve() -> None:
        async with serving(service, settings, log=log):
            started.set()
            await stop.wait()

    loop = asyncio.get_running_loop()
    serves, stops = loop.create_task(serve()), loop.create_task(stop.wait())
    await asyncio.wait({serves, stops}, return_when=asyncio.FIRST_COMPLETED)
    stops.cancel()
    if started.is_set() or serves.done():
        await serves
        return
    serves.cancel()
    with suppress(asyncio.CancelledError):
        await serves
    log.info("start_given_up", reason="the process was stopped while it waited for a server")


async def _migrate(dsn: str, service: str, log: structlog.typing.FilteringBoundLogger) -> None:
    """Apply the migrations. Raises CommandError."""
    with naming_postgres():
        try:
            await postgres.migrate(dsn, service, log)
        except MigrationBusyError as error:
            raise CommandError(str(error), EXIT_UNAVAILABLE) from error


async def _refused(service: str, why: str, stop: asyncio.Event) -> int:
    """Say why a server does not let us in, wait, and return the exit status."""
    print(f"{service}: {why}", file=sys.stderr, flush=True)  # noqa: T201
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), REFUSED_PAUSE_SECONDS)
    return EXIT_SETTINGS


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}", EXIT_ARGUMENTS) from None
    except (ValueError, RecursionError):
        raise CommandError(f"{file} cannot be read: expected JSON in UTF-8", EXIT_ARGUMENTS) from None


async def _seed(service: Service[S], settings: S, file: Path, content: Any) -> None:
    if service.seed is None:
        return
    with naming_postgres():
        pool = await postgres.open_pool(settings.postgres.dsn.get_secret_value(), service.name)
        try:
            await service.seed(pool, settings, content)
        except (LookupError, TypeError, ValueError) as error:
            told = f"{file} does not hold the demonstration's people and lists ({type(error).__name__}: {error})"
            raise CommandError(told, EXIT_ARGUMENTS) from None
        finally:
            await pool.close()


async def _command(service: Service[S], settings: S, command: Command[S]) -> int:
    with naming_postgres():
        pool = await postgres.open_pool(settings.postgres.dsn.get_secret_value(), service.name)
        try:
            return await command.run(pool, settings)
        finally:
            await pool.close()


def main(service: Service[Any], arguments: Sequence[str] | None = None) -> int:
    """Run the command line of a service; return the exit status. Only a bug of ours gives a stack trace."""
    asked = parser_of(service).parse_args(arguments)
    try:
        settings = settings_of(service.settings)
        log = logs.configure(service.name, settings.instance, settings.log_level)
        status = _done(service, settings, log, asked)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - printed, and the exit status says which kind
        return print_failure(service.name, error)
    return status


def _done(service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger, asked: Namespace) -> int:
    """Do the command and return the exit status. Raises CommandError for what keeps it from its work."""
    own = {command.name: command for command in service.commands}
    status = 0
    match asked.command:
        case "migrate":
            uvloop.run(_migrate(settings.postgres.dsn.get_secret_value(), service.name, log))
        case "seed":
            uvloop.run(_seed(service, settings, asked.file, _read(asked.file)))
        case "check":
            status = uvloop.run(checked(service, settings, sys.stdout, as_json=asked.json))
        case "check-letters" | "replay-plan" | "replay-run":
            with naming_postgres():
                return uvloop.run(_at_rest(service, settings, log, asked))
        case "limits":
            for limit in (*service.limits(settings), *runtime_limits(settings), connection_limit(service.budget)):
                print(f"{service.name}\t{limit.name}\t{limit.value}\t{limit.source}")  # noqa: T201
        case name if name in own:
            status = uvloop.run(_command(service, settings, own[name]))
        case _:
            status = _served(service, settings, log)
    return status


async def _at_rest(
    service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger, asked: Namespace
) -> int:
    """Do what needs the service's folds and not the service."""
    replayable = program.Replayable(
        service.name,
        settings.kafka,
        (*service.limits(settings), *runtime_limits(settings)),
        lambda: folds_of(service, settings, log),
    )
    if asked.command == "replay-plan":
        return await program.plan(replayable, sys.stdin.read())
    if asked.command == "replay-run":
        return await program.run(replayable, asked.replay_id)
    return 1 if await check_letters(service, settings, log, sys.stdout) else 0


def _served(service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger) -> int:
    try:
        return uvloop.run(_run(service, settings, log))
    except Exception:
        log.exception("service_failed")
        return 1
