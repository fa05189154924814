"""`countersign`: for those who connect to Countersign and for those who run it. One module a command.

Exit codes: 0 done, 1 a finding (a message that does not fit, nothing found, a limit exceeded), 2 what kept the command
from its work, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from countersign.cli import (
    check_message,
    dlq,
    keys,
    lag,
    publish_example,
    rebuild,
    replay,
    secret_files,
    tail,
    texts,
    topics,
    trace,
    why,
)
from countersign.cli.surroundings import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended
_TRY = "\n\ntry:\n"

app = typer.Typer(
    name="countersign",
    help="Publish an example, check a message, see why one was refused and who is behind; mend dead letters.",
    epilog="Addresses come from options, then the environment, then stack.env of the local stack "
    "(in $DATA, default .local).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _register(command: ModuleType) -> None:
    """Add a command: what its module says is its help, and the examples stand below the options as they are."""
    about, _, examples = (command.__doc__ or "").partition(_TRY)
    epilog = "\b\ntry:\n" + examples.rstrip() if examples else None
    app.command(command.NAME, help=about, short_help=command.HELP, epilog=epilog)(command.command)


for _command in (publish_example, check_message, why, lag, tail, trace, rebuild):
    _register(_command)
app.add_typer(dlq.app, name="dlq", short_help="look at dead letters, fold them again, release brakes")
app.add_typer(keys.app, name="keys", short_help="bring new keys in and old ones out, without losing anything")
app.add_typer(replay.app, name="replay", short_help="plan and run recorded events once more, without effect on people")
app.add_typer(secret_files.app, name="secrets", short_help="draw the secrets of a new installation")
app.add_typer(texts.app, name="texts", short_help="stop texts at once, and let them go again")
app.add_typer(topics.app, name="topics", short_help="compare the cluster's topics with schemas/topics, and mend")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Nothing that a person can type gives a stack trace."""
    command = typer.main.get_command(app)
    try:
        code = command.main(None if arguments is None else list(arguments), "countersign", standalone_mode=False)
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # usage errors print how the command is called
        if show is not None:
            show()
        return int(getattr(error, "exit_code", 2))
    except Failed as error:
        sys.stderr.write(f"countersign: {error}\n")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return int(code or 0)
