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
import re
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text

from countersign.cli.database import ask
from countersign.cli.surroundings import CommandFailedError
from countersign.clock import system_clock
from countersign.operations.trace import outcome_of
from countersign.timeline.reading import Timelines
from countersign.timeline.story import Step, Story

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

_NOTHING = Story()
_UNTOLD: tuple[Any, ...] = (None, [], "")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_ROOM_MIN = 24  # columns: with less, details go on below the whole step
_INDENT_MIN = 6
HELP = "tell what became of a request and why, step by step"
_Request = Annotated[UUID | None, typer.Option(metavar="UUID", help="of one request")]
_Challenge = Annotated[UUID | None, typer.Option(metavar="UUID", help="of the request of a challenge")]
_User = Annotated[UUID | None, typer.Option(metavar="UUID", help="of a user's latest requests")]
_Account = Annotated[UUID | None, typer.Option(metavar="UUID", help="of an account's latest requests")]


def command(  # noqa: PLR0913 - one argument for each option
    *,
    request: _Request = None,
    challenge: _Challenge = None,
    user: _User = None,
    account: _Account = None,
    since: Annotated[float, typer.Option(min=1, metavar="MINUTES", help="of a user or an account: how far back")] = 60,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="of a user or an account: at most so many requests")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print a JSON object for each step")] = False,
    dsn: Annotated[str | None, typer.Option(metavar="URL", help="PostgreSQL (else OPERATOR_DSN, POSTGRES_DSN)")] = None,
) -> int:
    """Ask every service, and print."""
    given = {"request": request, "challenge": challenge, "user": user, "account": account}
    wanted = [Wanted(kind, id_) for kind, id_ in given.items() if id_ is not None]  # type: ignore[arg-type] # the keys above
    if len(wanted) != 1:
        raise CommandFailedError("whose story? Give one of --request, --challenge, --user and --account")

    async def stories(db: asyncpg.Connection) -> list[tuple[UUID, Story]]:
        timelines = await Timelines.readable(db)
        if not timelines.schemas:
            raise CommandFailedError("this role may read no timeline: give --dsn of the role operator")
        return await wanted[0].stories(timelines, timedelta(minutes=since), most)

    found = [(id_, story) for id_, story in ask(dsn, stories) if story.steps]
    console = Console(highlight=False)
    for id_, story in found:
        if as_json:
            sys.stdout.writelines(_documents(story))
        else:
            _print(console, wanted[0].kind, id_, story)
    if not found:
        sys.stderr.write(f"{wanted[0].nothing(since)}\n")
    return 0 if found else 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose story is asked for."""

    kind: Literal["request", "challenge", "user", "account"]
    id: UUID

    def nothing(self, minutes: float) -> str:
        """Return what is said if no service has anything."""
        if self.kind in {"request", "challenge"}:
            return outcome_of(_NOTHING, system_clock())
        return (
            f"No service knows of anything that this {self.kind} did in the last {minutes:g} minutes: "
            "give --since MINUTES to look further back."
        )

    async def stories(self, timelines: Timelines, within: timedelta, most: int) -> list[tuple[UUID, Story]]:
        """Return the stories, the newest first; before them the changes that no request was for."""
        match self.kind:
            case "user" | "account":
                changes = await timelines.changes(self.kind, self.id, within, most)
                ids = await timelines.recent(self.kind, self.id, within, most)
                return [(self.id, changes), *(await timelines.stories(ids)).items()]
            case _:
                return [(self.id, await timelines.story(self.id))]


def _print(console: Console, kind: str, id_: UUID, story: Story) -> None:
    """Print what became of it, whose it is, and a line for each step; on a terminal long lines go on below their step.

    In a pipe each step stays one line, however long.
    """
    first = story.steps[0]
    of_settings = first.request_id is None and first.challenge_id is None
    words = _changes(len(story.steps)) if of_settings else outcome_of(story, system_clock())
    console.print(Text(words, style=f"bold {_colour(words)}"), soft_wrap=not console.is_terminal)
    if not of_settings:
        named = "request" if kind in {"user", "account"} else kind
        console.print(f"  {named:<8} {id_}", soft_wrap=True)
    console.print(f"  user     {first.user_id or 'all'}", soft_wrap=True)
    console.print(f"  account  {first.account_id}", soft_wrap=True)
    console.print(f"  {first.at:%Y-%m-%d}, times are UTC", soft_wrap=True)
    for step, gap in zip(story.steps, story.gaps(), strict=True):
        after = "" if gap is None else f"+{_length(gap)}"
        head = (
            f"  {step.at:%H:%M:%S}.{step.at.microsecond // 1000:03}  {after:>9}  {step.service:<14}  {step.what:<18}  "
        )
        details = [f"{name}={_shown(value)}" for name, value in step.detail.items() if _is_told(step, name, value)]
        for line in step_lines(head, details, console.width if console.is_terminal else None):
            console.print(Text(line.rstrip()), soft_wrap=True)
    console.print()


def _is_told(step: Step, name: str, value: Any) -> bool:
    """Return False for what says nothing: a request that nobody disputes, that a denial came without a code."""
    usual = (name == "disputed" and value is False) or (step.what == "denied" and name == "with_code")
    return value not in _UNTOLD and not usual


def _changes(count: int) -> str:
    return f"{count} change{'' if count == 1 else 's'} of settings."


def _colour(words: str) -> str:
    return "red" if words.startswith("Denied") else "green" if words.startswith("Granted") else "yellow"


def step_lines(head: str, details: Sequence[str], width: int | None) -> list[str]:
    """Return a step's lines, no longer than `width` where that can be: a detail stays in one piece. None: one line."""
    if width is None:
        return [head + "  ".join(details)]
    indent = len(head) if width - len(head) >= _ROOM_MIN else _INDENT_MIN
    lines = [head] if indent == len(head) else [head, " " * indent]
    for detail in details:
        begun = lines[-1] if lines[-1].strip() == head.strip() or not lines[-1].strip() else f"{lines[-1]}  "
        if len(begun) + len(detail) <= width:
            lines[-1] = begun + detail
        else:
            lines.append(" " * max(_INDENT_MIN, min(indent, width - len(detail))) + detail)
    return [line for line in lines if line.strip()]


def _length(gap: timedelta) -> str:
    if gap < timedelta(seconds=10):
        return f"{gap / timedelta(milliseconds=1):.0f} ms"
    return f"{gap.total_seconds():.0f} s" if gap < timedelta(hours=1) else f"{gap / timedelta(hours=1):.1f} h"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(str(one) for one in value)
    try:
        return f"{datetime.fromisoformat(value):%H:%M:%S}" if _TIME.match(value) else value
    except (TypeError, ValueError):
        return str(value)


def _documents(story: Story) -> Sequence[str]:
    return [json.dumps(asdict(step), default=str) + "\n" for step in story.steps]
