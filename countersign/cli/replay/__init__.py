"""Let a service fold recorded events again, without hurting anybody.

`plan` says what that would do, and changes nothing. `run` does what a plan says and stops before anything else: no text
and no grant ever, no more denials than planned. It reads beside the service, whose own offsets stay where they are.
Every deed is kept with who did it and why.
"""

from __future__ import annotations

import typer

from countersign.cli import replay_shadow
from countersign.cli.replay import planning, running, steering

HELP = "plan and run recorded events once more, without effect on people"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
for _group in (planning.app, running.app, steering.app):
    app.add_typer(_group)
replay_shadow.add_to(app)
