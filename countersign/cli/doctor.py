"""Say what is wrong with an installation and what to do about it, one line a finding. Nothing is changed.

Looked at: whether Kafka lets us in, topics and rights against schemas/topics, clocks of producers, of the database and
of this machine; PostgreSQL, migrations of each service, what waits in outboxes, dead letters, brakes, a pooler that
loses sessions; modes of secrets files that can be read here, and ages of the keys in them; and, for each service whose
settings are found here, its own `check`: log-ins, JWKS, SNS, and COUNTERSIGN_… variables that nobody reads. Settings
are those of `--service` in this environment, or of the local stack. What is away is said, and the rest is looked at.
The worst is printed last.

Exit codes: 0 all is well or only warnings, 1 an error, 2 no address is known at all or an argument is wrong.

try:
  countersign doctor
  countersign doctor --quiet
  countersign doctor --json | jq 'select(.level != "ok")'
  COUNTERSIGN_SECRETS_FILE=/run/secrets/verifier.json countersign doctor --service verifier
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from countersign.cli.dlq.services import require_service
from countersign.cli.options import AsJson, Bootstrap, Dsn  # noqa: TC001 - typer reads the annotations
from countersign.cli.printing import console
from countersign.cli.service_program import answers_of, local_services, settings_of
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.operations.doctor.examination import examined
from countersign.operations.doctor.secret_files import files_in
from countersign.operations.doctor.services import Told, merged
from countersign.operations.letters import SERVICES
from countersign.runtime.checkup import Finding, Level, any_error, fine, warning, without_logs_of_kafka, wrong
from countersign.runtime.settings import secrets_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.broker.kafka import KafkaConnection

HELP = "say what is wrong with an installation, and what to do"
_WORST_FIRST: tuple[Level, ...] = ("error", "warning", "ok")
_STYLES = {"error": "bold red", "warning": "yellow", "ok": "green"}
PROGRAM_SECONDS_MAX = 45.0  # a program needs 3 s of a core to start, and six may start at once


def command(
    service: Annotated[
        list[str] | None, typer.Option(help="whose settings this environment has; several times")
    ] = None,
    secrets: Annotated[Path | None, typer.Option(help="folder of secrets files (else SECRETS_DIR)")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="leave out what is ok")] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    dsn: Dsn = None,
) -> int:
    """Look and print."""
    for name in service or ():
        require_service(name)
    around = Surroundings.found()
    kafka, refused = _kafka(around, bootstrap)
    address = dsn or around.get("OPERATOR_DSN") or around.get("POSTGRES_DSN")
    if kafka is None and refused is None and address is None:
        around.need("KAFKA_BOOTSTRAP_SERVERS", bootstrap, "--bootstrap")
    asked, unknown = _services(service)
    with without_logs_of_kafka():
        tester = around.get("KAFKA_SASL_USERNAME") if around.is_local else None
        found = asyncio.run(_looked(kafka, address, _secret_files(around, secrets), asked, tester))
    if refused is not None:
        found = [refused, *(finding for finding in found if finding.subject != "Kafka")]
    found += unknown
    shown = [finding for finding in found if not (quiet and finding.level == "ok")]
    if as_json:
        sys.stdout.writelines(f"{json.dumps(asdict(finding))}\n" for finding in shown)
    else:
        _print(shown, found)
    return 1 if any_error(found) else 0


def _print(shown: Sequence[Finding], found: Sequence[Finding]) -> None:
    """Print the findings, the worst last, where a terminal shows them; in a pipe each is one line."""
    out = console()
    worst_last = sorted(shown, key=lambda finding: -_WORST_FIRST.index(finding.level))
    if out.is_terminal:
        table = Table.grid("", "", padding=(0, 2))
        for finding in worst_last:
            line = str(finding).removeprefix(finding.level).strip()
            table.add_row(Text(finding.level, style=_STYLES[finding.level]), Text(line, overflow="fold"))
        out.print(table)
    else:
        sys.stdout.writelines(f"{finding}\n" for finding in worst_last)
    counts = [f"{level}: {sum(one.level == level for one in found)}" for level in _WORST_FIRST]
    sys.stdout.write(f"{', '.join(counts)}\n")


async def _looked(
    kafka: KafkaConnection | None,
    dsn: str | None,
    secrets: Sequence[Path],
    services: Sequence[str],
    tester: str | None,
) -> list[Finding]:
    """Look at the servers, and then let the services' programs look.

    Six programs that start take every core for seconds: at the same time, a server that is well would seem not to
    answer in time.
    """
    found = await examined(kafka, dsn, secrets, tester)
    return found + merged(await asyncio.gather(*(asyncio.to_thread(_told, service) for service in services)))


def _told(service: str) -> Told:
    """Run a service's own `check`, with its settings."""
    variables = frozenset(settings_of(service))
    try:
        rows = answers_of(service, "check", "finding", more=("--json",), seconds=PROGRAM_SECONDS_MAX)
    except CommandFailedError as error:
        told = str(error).removeprefix(f"{service}: ")
        return Told(service, variables, [wrong("check", told, f"see `python -m services.{service} check`")])
    return Told(service, variables, [Finding(**row) for row in rows])


def _kafka(around: Surroundings, bootstrap: str | None) -> tuple[KafkaConnection | None, Finding | None]:
    if (bootstrap or around.get("KAFKA_BOOTSTRAP_SERVERS")) is None:
        return None, None
    try:
        return around.kafka(bootstrap), None
    except CommandFailedError as error:
        return None, wrong("Kafka", str(error), "correct those variables")


def _services(given: Sequence[str] | None) -> tuple[Sequence[str], list[Finding]]:
    """Return the services whose settings are at hand, and what is to be said if it is not clear whose they are."""
    if given:
        return sorted(set(given)), []
    named = secrets_file()
    if named is not None and named.stem in SERVICES:
        return [named.stem], []
    if named is not None:
        told = f"{named} is named by COUNTERSIGN_SECRETS_FILE, and it is not known of which service it is"
        return [], [warning("services", told, "give --service")]
    local = local_services()
    if local:
        return local, []
    told = "no settings of a service are here: their log-ins, JWKS, SNS and names of settings were not looked at"
    return [], [fine("services", f"{told}; `python -m services.<name> check` does, where each one runs")]


def _secret_files(around: Surroundings, given: Path | None) -> list[Path]:
    if given is not None and not given.is_dir():
        raise CommandFailedError(f"--secrets {given}: there is no such folder")
    folder = given or (Path(around.get("SECRETS_DIR") or "") if around.get("SECRETS_DIR") else None)
    found = [] if folder is None else files_in(folder)
    named = secrets_file()
    if named is not None and named.resolve() not in {path.resolve() for path in found}:
        found.append(named)
    return found
