"""Bring new keys in and old ones out: codes, grants, numbers, assessments.

A new key is used only once every instance knows it, and an old one goes only when nothing needs it. Both are changed in
one folder, which holds the secrets file of each service that has the ring; where the services read other files, bring
these there, and run the command again. Changing commands only show what they would do until --execute is given, which
wants a --reason; who did it and why is kept. No secret is ever printed.
"""

from __future__ import annotations

import typer

from countersign.cli.keys import listing, revoking, rotating

HELP = "bring new keys in and old ones out, without losing anything"
app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
for _group in (listing.app, rotating.app, revoking.app):
    app.add_typer(_group)
