"""The frame around every service: one command line, one start, one orderly end."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import uvloop
from pydantic import ValidationError

from countersign.runtime.backoff import Backoff
from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.checkpoint import Checkpoint, nothing
from countersign.runtime.database import leases, postgres
from countersign.runtime.errors import Kind, kind_of, reason_of
from countersign.runtime.messages.findings import findings
from countersign.runtime.program.at_rest import check_letters
from countersign.runtime.program.frame import Command, Frame, Limit, Parts, Service
from countersign.runtime.program.limits import runtime_limits
from countersign.runtime.program.machine import Machine
from countersign.runtime.program.service_check import checked
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.replay import program
from countersign.runtime.settings import SecretsReadableError, ServiceSettings, refuse_open_secrets
from countersign.runtime.watching import logs
from countersign.runtime.watching.health import Health, health_application
from countersign.runtime.watching.metrics import Metrics
from countersign.runtime.web.http import Site
from countersign.runtime.web.listening import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import structlog

    from countersign.runtime.database.postgres import Pool

__all__ = ["Frame", "Limit", "Parts", "Service", "Site", "main", "serving"]

S = TypeVar("S", bound=ServiceSettings)

EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h: a restart does not help
# A supervisor that starts us again at once would ask the broker, and fill its log, many times a second.
REFUSED_PAUSE_SECONDS = 5.0


@asynccontextmanager
async def serving(
    service: Service[S], settings: S, *, log: structlog.typing.FilteringBoundLogger, checkpoint: Checkpoint = nothing
) -> AsyncIterator[Machine]:
    """Start a service on its servers; leaving ends it in order: routes, worker, due work, publisher."""
    dsn = settings.postgres.dsn.get_secret_value()
    health, metrics = Health(), Metrics()
    publisher = Publisher(
        settings.kafka,
        link=postgres.Link(dsn, service.name),
        health=health,
        metrics=metrics,
        checkpoint=checkpoint,
        log=log,
    )
    own = settings.health
    health_site = Site(health_application(health, metrics), own.host, own.port, "health", own.connections)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(listening([health_site], metrics, log))
        pool = await _patient_pool(service.name, settings, health, log)
        stack.callback(pool.terminate)
        frame = Frame(settings, pool, publisher, health, metrics, log, checkpoint)
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
    service: str, settings: ServiceSettings, health: Health, log: structlog.typing.FilteringBoundLogger
) -> Pool:
    dsn, parameters = settings.postgres.dsn.get_secret_value(), leases.parameters(settings.leases)
    backoff = Backoff()
    while True:
        try:
            return await postgres.open_pool(dsn, service, parameters=parameters)
        except Exception as error:
            if kind_of(error) is not Kind.INFRASTRUCTURE:
                raise
            health.tell("postgres", reason_of(error))
            log.warning("start_waits", error=type(error).__name__)
            await asyncio.sleep(backoff.next())


async def _run(service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger) -> int:
    """Serve until SIGTERM and return the exit status: EXIT_SETTINGS, after a pause, if Kafka does not let us in."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if (why := await refusal_of(settings.kafka)) is not None:
        print(f"{service.name}: {why}", file=sys.stderr, flush=True)  # noqa: T201
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), REFUSED_PAUSE_SECONDS)
        return EXIT_SETTINGS
    async with serving(service, settings, log=log):
        await stop.wait()
    return 0


async def _seed(service: Service[S], settings: S, seed: Mapping[str, Any]) -> None:
    if service.seed is None:
        return
    pool = await postgres.open_pool(settings.postgres.dsn.get_secret_value(), service.name)
    try:
        await service.seed(pool, settings, seed)
    finally:
        await pool.close()


async def _command(service: Service[S], settings: S, command: Command[S]) -> int:
    if reason := await postgres.reachable(settings.postgres.dsn.get_secret_value(), service.name):
        print(f"{service.name}: {reason}", file=sys.stderr)  # noqa: T201
        return EXIT_UNAVAILABLE
    pool = await postgres.open_pool(settings.postgres.dsn.get_secret_value(), service.name)
    try:
        return await command.run(pool, settings)
    finally:
        await pool.close()


def main(service: Service[Any], arguments: Sequence[str] | None = None) -> int:
    """Run the command line of a service; return the exit status."""
    asked = _parser(service).parse_args(arguments)
    try:
        refuse_open_secrets()
        settings = service.settings()
    except (ValidationError, SecretsReadableError) as error:
        told = (
            f"the settings are not right: {'; '.join(findings(error))}" if isinstance(error, ValidationError) else error
        )
        print(f"{service.name}: {told}", file=sys.stderr)  # noqa: T201
        return EXIT_SETTINGS
    log = logs.configure(service.name, settings.instance, settings.log_level)
    dsn = settings.postgres.dsn.get_secret_value()
    own = {command.name: command for command in service.commands}
    match asked.command:
        case "migrate":
            uvloop.run(postgres.migrate(dsn, service.name, log))
        case "seed":
            uvloop.run(_seed(service, settings, json.loads(asked.file.read_bytes())))
        case "check":
            return uvloop.run(checked(service, settings, sys.stdout, as_json=asked.json))
        case "check-letters" | "replay-plan" | "replay-run":
            return uvloop.run(_at_rest(service, settings, log, asked))
        case "limits":
            for limit in (*service.limits(settings), *runtime_limits(settings)):
                print(f"{service.name}\t{limit.name}\t{limit.value}\t{limit.source}")  # noqa: T201
        case name if name in own:
            return uvloop.run(_command(service, settings, own[name]))
        case _:
            return _served(service, settings, log)
    return 0


async def _at_rest(
    service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger, asked: argparse.Namespace
) -> int:
    """Do what needs the service's folds and not the service."""
    if asked.command == "replay-plan":
        return await program.plan(service, settings, log, sys.stdin.read())
    if asked.command == "replay-run":
        return await program.run(service, settings, log, asked.replay_id)
    return 1 if await check_letters(service, settings, log, sys.stdout) else 0


def _served(service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger) -> int:
    try:
        return uvloop.run(_run(service, settings, log))
    except Exception:
        log.exception("service_failed")
        return 1


def _parser(service: Service[Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service.name}",
        description=f"The {service.name} of Countersign. Settings come from the environment (COUNTERSIGN_…) and from "
        "the JSON file that COUNTERSIGN_SECRETS_FILE names.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="serve until SIGTERM (the default)")
    commands.add_parser("migrate", help="bring the service's schema up to date")
    seed = commands.add_parser("seed", help="put the demonstration's data in, once")
    seed.add_argument("file", type=Path, help="the JSON file with the demonstration's people and lists")
    check = commands.add_parser(
        "check", help="say whether settings, PostgreSQL, Kafka and what else is needed are right"
    )
    check.add_argument("--json", action="store_true", help="print JSON objects, one a line")
    commands.add_parser("check-letters", help="say what this code makes of each new dead letter; nothing is changed")
    commands.add_parser("replay-plan", help="print the plan of a replay; standard input says of which, as JSON")
    replay = commands.add_parser("replay-run", help="go on with a replay that `countersign replay` has begun")
    replay.add_argument("replay_id", type=lambda text: str(UUID(text)), help="the replay's id")
    commands.add_parser("limits", help="print every limit of the configuration with its source")
    for command in service.commands:
        commands.add_parser(command.name, help=command.words)
    return parser
