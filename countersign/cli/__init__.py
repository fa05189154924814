"""`countersign`: for those who connect to Countersign and for those who run it. One module a command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from countersign.cli import check_message, publish_example, why
from countersign.cli.surroundings import Failed, Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = (publish_example, check_message, why)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 for done, 1 for a finding (a message that does not fit, nothing found), 2 for what kept it from that."""
    chosen = parser().parse_args(arguments)
    try:
        code: int = chosen.run(chosen, Surroundings.found(), sys.stdout)
    except Failed as error:
        sys.stderr.write(f"countersign {chosen.command}: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell tells a program that Ctrl-C ended
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    whole = argparse.ArgumentParser(
        prog="countersign",
        description="Publish an example, check a message, see why one was refused.",
        epilog="Addresses come from options, then the environment, then stack.env of the local stack "
        "(in $DATA, default .local).",
    )
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        own = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(own)
        own.set_defaults(run=command.run)
    return whole
