"""Secrets of an installation: one JSON file a service, each readable by its owner alone."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from countersign.cli.options import AsJson  # noqa: TC001 - typer reads the annotations
from countersign.cli.surroundings import CommandFailedError
from countersign.clock import system_clock
from countersign.operations.installation import (
    KAFKA_FILE,
    OPERATOR_FILE,
    ROLES_FILE,
    Database,
    draw_files,
    lay_files,
)

HELP = "draw the secrets of a new installation"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?(/(?P<name>[^/?#\s]+))?")
_PORT_MAX = 65_535


@app.callback()
def group() -> None:
    """Keep `new` a word of its own."""


@app.command(epilog="\b\ntry:\n  countersign secrets new ./secrets --postgres db.example.com/countersign")
def new(
    directory: Annotated[Path, typer.Argument(help="the folder to make; it may be there if it is empty")],
    *,
    postgres: Annotated[str, typer.Option(metavar="HOST[:PORT][/DATABASE]", help="where PostgreSQL is")],
    kafka_logins: Annotated[
        bool,
        typer.Option("--kafka-logins/--no-kafka-logins", help="draw a password for each principal of Kafka (SASL)"),
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Draw the secrets of a new installation: keys, peppers, bearers, passwords of database and Kafka.

    What several services share is the same in each file. The folder has mode 0700, each file 0600; nothing that is
    there is touched, and no secret is printed. Exit codes: 0 written, 2 it was not, and nothing was.
    """
    files = draw_files(_database(postgres), kafka_logins=kafka_logins, now=system_clock())
    try:
        lay_files(directory, files)
    except FileExistsError:
        raise CommandFailedError(
            f"{directory} is there already, and nothing in it is overwritten: name a folder that is not"
        ) from None
    except OSError as error:
        raise CommandFailedError(f"{directory} cannot be written: {error.strerror or type(error).__name__}") from None
    if as_json:
        sys.stdout.write(json.dumps({"directory": str(directory), "files": sorted(files)}) + "\n")
        return 0
    sys.stdout.write(f"{directory}: {', '.join(sorted(files))}\n\n")
    sys.stdout.writelines(f"{number}. {step}\n" for number, step in enumerate(_steps(directory, files), start=1))
    return 0


def _database(written: str) -> Database:
    found = _ADDRESS.fullmatch(written)
    port = int(found["port"] or 5432) if found else 0
    if found is None or not 1 <= port <= _PORT_MAX:
        raise CommandFailedError(
            "--postgres: expected HOST, HOST:PORT or HOST:PORT/DATABASE, such as db.example.com/countersign"
        )
    return Database(found["host"].strip("[]"), port, found["name"] or "countersign")


def _steps(directory: Path, files: dict[str, bytes]) -> list[str]:
    """Return what is to be done next, in order."""
    roles, users, operator = (directory / name for name in (ROLES_FILE, KAFKA_FILE, OPERATOR_FILE))
    then = f"Then {roles}, which gives them their passwords and can be removed afterwards: psql --file {roles}"
    kafka = (
        f"On Kafka make a user for each line of {users}, by SCRAM-SHA-512: kafka-configs.sh --entity-type users, or "
        "countersign.operations.kafka_users.set_passwords. Then remove that file: each service has its own password."
        if KAFKA_FILE in files
        else "Give each service its certificate, or its token callback, for Kafka: see the README, Kafka's log-in."
    )
    return [
        f"As a superuser of the database run deploy/postgres/roles.sql, which makes the roles. {then}",
        kafka,
        "Where the notifier has no role on AWS: put sns.access_key_id and sns.secret_access_key into notifier.json.",
        "Bring each <service>.json to where that service runs, readable by its user alone: COUNTERSIGN_SECRETS_FILE.",
        "`python -m services.<service> check` says whether the settings are right.",
        f"Load {operator} where `countersign` is called. Keep this folder closed: `countersign keys rotate` needs it.",
    ]
