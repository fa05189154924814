"""Look at dead letters, let the services fold them again, discard them, and release brakes.

Reading commands print tables, or JSON objects with --json. Changing commands only show what they would do until
--execute is given, which wants a --reason; who did it and why is kept beside what was changed.
"""

from __future__ import annotations

import typer

from countersign.cli.dlq import changing, reading

HELP = "look at dead letters, fold them again, release brakes"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
for _group in (reading.app, changing.app):
    app.add_typer(_group)
