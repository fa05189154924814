"""The command line of a service: its commands, with examples and exit codes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from countersign.runtime.program.frame import Service

_CODES = (
    "exit codes: 0 done, 1 a finding, 2 an argument or a file is wrong, 69 a server does not answer or does not let us "
    "in, 70 a bug of ours, 78 the settings are not right, 130 Ctrl-C"
)
_REPLAY_CODES = f"{_CODES}; of a replay 2 it could not be done, 3 it was paused, stopped or aborted"


def parser_of(service: Service[Any]) -> argparse.ArgumentParser:
    """Return the parser of a service's command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{service.name}",
        description=f"The {service.name} of Countersign. Settings come from the environment (COUNTERSIGN_…) and from "
        "the JSON file that COUNTERSIGN_SECRETS_FILE names.",
        epilog=f"try: python -m services.{service.name} check. {_CODES}",
    )
    commands = _Commands(service.name, parser)
    commands.add("run", "serve until SIGTERM (the default)")
    commands.add("migrate", "bring the service's schema up to date")
    seed = commands.add("seed", "put the demonstration's data in, once", example="seed .local/seed.json")
    seed.add_argument("file", type=Path, help="the JSON file with the demonstration's people and lists")
    check = commands.add("check", "say whether settings, PostgreSQL, Kafka and what else is needed are right")
    check.add_argument("--json", action="store_true", help="print JSON objects, one a line")
    commands.add("check-letters", "say what this code makes of each new dead letter; nothing is changed")
    commands.add(
        "replay-plan",
        "print the plan of a replay; standard input says of which, as JSON",
        codes=_REPLAY_CODES,
        before="cat asked.json |",
    )
    replay = commands.add(
        "replay-run",
        "go on with a replay that `countersign replay` has begun",
        example="replay-run 019cadf4-6e80-7c01-8000-000000000001",
        codes=_REPLAY_CODES,
    )
    replay.add_argument("replay_id", type=_uuid, help="the replay's id")
    commands.add("limits", "print every limit of the configuration with its source")
    for command in service.commands:
        commands.add(command.name, command.words, before=command.example_input)
    return parser


class _Commands:
    """Adds commands, each with an example and its exit codes."""

    def __init__(self, service: str, parser: argparse.ArgumentParser) -> None:
        self._service = service
        self._commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(
        self, name: str, words: str, *, example: str | None = None, codes: str = _CODES, before: str = ""
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser. `before` is what is piped into it in the example."""
        line = f"{before} python -m services.{self._service} {example or name}".strip()
        found: argparse.ArgumentParser = self._commands.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"try: {line.replace('%', '%%')}. {codes}",
        )
        return found


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no id: expected a UUID") from None
