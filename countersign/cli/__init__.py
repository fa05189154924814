"""`countersign`: for those who connect to Countersign and for those who run it. One module a command.

Exit codes: 0 done, or whoever read the output went away (`| head`), 1 a finding (a message that does not fit, nothing
found, a limit exceeded), 2 what kept the command from its work, 130 interrupted. What kept it is a sentence on standard
error, so that standard output holds JSON objects only where --json is given.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from countersign.cli.surroundings import CommandFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended
_COLUMNS_MIN = 50  # a help is never narrower by itself, so that a narrow terminal would break each line twice
_TRY = "\n\ntry:\n"
_ABOUT: dict[str, Any] = {
    "name": "countersign",
    "help": "Publish an example, check a message, see why one was refused and who is behind; mend dead letters.",
    "epilog": "Addresses come from options, then the environment, then stack.env of the local stack "
    "(in $DATA, default .local).",
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
# Each command's module. That of a group of commands has an `app`, any other a `command`; each has a `HELP`.
COMMANDS = {
    "publish-example": "publish_example",
    "check-message": "check_message",
    "why": "why",
    "doctor": "doctor",
    "lag": "lag",
    "tail": "tail",
    "trace": "trace",
    "dlq": "dlq",
    "outbox": "outbox",
    "texts": "texts",
    "replay": "replay",
    "rebuild": "rebuild",
    "offsets": "offsets",
    "topics": "topics",
    "keys": "keys",
    "secrets": "secret_files",
}


def program(names: Iterable[str]) -> typer.Typer:
    """Return the program with these commands. Only their modules are imported: together all take over a second."""
    app = typer.Typer(**_ABOUT)
    app.callback()(_nothing)  # a program of one command would take that command's name for its first argument
    for name in names:
        module = import_module(f"countersign.cli.{COMMANDS[name]}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, short_help=module.HELP)
        else:
            _register(app, module, name)
    return app


def _nothing() -> None:
    """Take no options before the command."""


def _columns() -> int:
    return max(shutil.get_terminal_size().columns - 2, 20)


def _register(app: typer.Typer, command: ModuleType, name: str) -> None:
    """Add a command: what its module says is its help, and the examples stand below the options as they are."""
    about, _, examples = (command.__doc__ or "").partition(_TRY)
    epilog = "\b\ntry:\n" + examples.rstrip() if examples else None
    app.command(name, help=about, short_help=command.HELP, epilog=epilog)(command.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Nothing that a person can type gives a stack trace."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app = program(given[:1] if given and given[0] in COMMANDS else COMMANDS)
        width: dict[str, Any] = {"terminal_width": columns} if (columns := _columns()) < _COLUMNS_MIN else {}
        code = typer.main.get_command(app).main(given, "countersign", standalone_mode=False, **width)
        sys.stdout.flush()
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # usage errors print how the command is called
        if show is not None:
            show()
        return int(getattr(error, "exit_code", 2))
    except CommandFailedError as error:
        sys.stderr.write(f"countersign: {error}\n")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # connections that nobody awaits any more
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:  # typer and rich make a SystemExit of a closed pipe
        if isinstance(error, SystemExit) and error.code != 1:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would complain when it flushes
        return 0
    return int(code or 0)
