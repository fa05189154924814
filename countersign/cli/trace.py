"""Tell what became of a request and why, with every step over all services and the time between them.

Give one id: of a request, of a challenge, of a user or of an account. Of a user or an account the latest requests are
told, after the latest changes of their settings. No code and no number is shown. With --json one JSON object is printed
for each step.

Exit codes: 0 something is known, 1 nothing is, 2 PostgreSQL does not answer.

try:
  countersign trace --request 019cadf4-6e80-7c01-8000-000000000001
  countersign trace --user 019ca8e4-1c00-7a02-8000-00000000000b --since 60
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from countersign.cli.database import ask
from countersign.cli.surroundings import Failed
from countersign.clock import system_clock
from countersign.operations.trace import outcome_of
from countersign.timeline.reading import Timelines
from countersign.timeline.story import Story

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

_NOTHING = Story()
HELP = "tell what became of a request and why, step by step"
_Id = Annotated[UUID | None, typer.Option(metavar="UUID")]


def command(  # noqa: PLR0913 - one argument for each option
    *,
    request: _Id = None,
    challenge: _Id = None,
    user: _Id = None,
    account: _Id = None,
    since: Annotated[float, typer.Option(min=1, metavar="MINUTES", help="of a user or an account: how far back")] = 60,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="of a user or an account: at most so many requests")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print a JSON object for each step")] = False,
    dsn: Annotated[str | None, typer.Option(metavar="URL", help="PostgreSQL (else OPERATOR_DSN, POSTGRES_DSN)")] = None,
) -> int:
    """Ask every service, and print."""
    given = {"request": request, "challenge": challenge, "user": user, "account": account}
    wanted = [Wanted(kind, id_) for kind, id_ in given.items() if id_ is not None]  # type: ignore[arg-type] # the keys above
    if len(wanted) != 1:
        raise Failed("whose story? Give one of --request, --challenge, --user and --account")

    async def stories(db: asyncpg.Connection) -> list[tuple[UUID, Story]]:
        timelines = await Timelines.readable(db)
        if not timelines.schemas:
            raise Failed("this role may read no timeline: give --dsn of the role operator")
        return await wanted[0].stories(timelines, timedelta(minutes=since), most)

    found = [(id_, story) for id_, story in ask(dsn, stories) if story.steps]
    for id_, story in found:
        sys.stdout.writelines(_documents(story) if as_json else _lines(id_, story))
    if not found:
        sys.stderr.write(f"{outcome_of(_NOTHING, system_clock())}\n")
    return 0 if found else 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose story is asked for."""

    kind: Literal["request", "challenge", "user", "account"]
    id: UUID

    async def stories(self, timelines: Timelines, within: timedelta, most: int) -> list[tuple[UUID, Story]]:
        """Return the stories, the newest first; before them the changes that no request was for."""
        match self.kind:
            case "user" | "account":
                changes = await timelines.changes(self.kind, self.id, within, most)
                ids = await timelines.recent(self.kind, self.id, within, most)
                return [(self.id, changes), *(await timelines.stories(ids)).items()]
            case _:
                return [(self.id, await timelines.story(self.id))]


def _lines(id_: UUID, story: Story) -> Sequence[str]:
    first = story.steps[0]
    is_of_no_request = first.request_id is None and first.challenge_id is None
    words = f"{len(story.steps)} changes of settings." if is_of_no_request else outcome_of(story, system_clock())
    lines = [
        f"{words}\n",
        f"  {id_}  user {first.user_id or 'all'}  account {first.account_id}\n",
    ]
    for step, gap in zip(story.steps, story.gaps(), strict=True):
        after = "" if gap is None else f"+{gap.total_seconds() * 1000:.0f} ms"
        detail = "  ".join(f"{name}={_shown(value)}" for name, value in step.detail.items() if value is not None)
        lines.append(
            f"  {step.at:%H:%M:%S.%f}  {after:>10}  {step.service:<14}  {step.what:<14}  {detail}".rstrip() + "\n"
        )
    return [*lines, "\n"]


def _shown(value: Any) -> str:
    return ",".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _documents(story: Story) -> Sequence[str]:
    return [json.dumps(asdict(step), default=str) + "\n" for step in story.steps]
