"""`replay plan`: what folding recorded events again would do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from countersign.cli.dlq.services import require_service
from countersign.cli.event_types import type_named
from countersign.cli.moments import moment_of
from countersign.cli.options import AsJson, Who
from countersign.cli.replay.program import relay
from countersign.cli.surroundings import CommandFailedError
from countersign.contract.topic_files import topic_files
from countersign.operations import journal
from countersign.operations.letters import SERVICES
from countersign.runtime.messages.findings import findings
from countersign.runtime.replay.plan import Asked, Plan, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer()


@app.command(
    epilog="\b\ntry:\n  countersign replay plan --service risk_evaluator --topic access.requests.v1 --since 2h "
    "-o plan.json"
)
def plan(  # noqa: PLR0913 - one argument for each option
    *,
    service: Annotated[str, typer.Option(help=f"one of {', '.join(SERVICES)}")],
    topic: Annotated[str, typer.Option(help="a topic that the service reads")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the plan's file, which must not be there yet")],
    since: Annotated[str | None, typer.Option(metavar="TIME", help="2026-07-01T10:00:00Z, or 2h for 2 h ago")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="up to that time (else up to now)")] = None,
    by: Annotated[str, typer.Option(help="log-time (of the append) or event-time (of the producer)")] = "log-time",
    key: Annotated[str | None, typer.Option(help="only records with this key")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="only this ce_type")] = None,
    who: Who = None,
    as_json: AsJson = False,
) -> int:
    """Write a plan: today's code folds each record, and all of it is rolled back. Nothing is changed.

    It runs as the service, with its settings: COUNTERSIGN_SECRETS_FILE and the others, or those of the local stack.
    Exit codes: 0 written, 1 written, and it cannot be run as its records would lead to texts or grants, 2 it could not
    be made.
    """
    require_service(service)
    if topic not in (topics := sorted(one.topic for one in topic_files())):
        raise CommandFailedError(f"no such topic: {topic}; there are {', '.join(topics)}")
    if output.exists():
        raise CommandFailedError(f"{output} is there already: name another file")
    if not output.parent.is_dir():
        raise CommandFailedError(f"{output} cannot be written: there is no folder {output.parent}")
    fields = {
        "service": service,
        "topic": topic,
        "since": moment_of(since, "--since"),
        "until": moment_of(until, "--until"),
        "by": by,
        "key": key,
        "type": None if event_type is None else type_named(topic, event_type),
    }
    try:
        asked = Asked.model_validate(fields)
    except ValidationError as error:
        raise CommandFailedError("; ".join(findings(error))) from None
    made = _made(asked, who or journal.who(), quiet=as_json)
    try:
        output.write_text(made.model_dump_json(indent=1) + "\n", "utf-8")
    except OSError as error:
        raise CommandFailedError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        sys.stdout.write(json.dumps({"file": str(output), **made.model_dump(mode="json")}) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in described(made))
        sys.stdout.write(f"The plan is in {output}: countersign replay run {output} --reason …\n")
    return 1 if made.found.forbidden else 0


def _made(asked: Asked, by: str, *, quiet: bool) -> Plan:
    found: list[Plan] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading", total=None)

        def said(line: dict[str, Any]) -> None:
            if "plan" in line:
                found.append(Plan.parsed(json.dumps(line["plan"])))
            else:
                progress.update(task, completed=line["replay"]["read"], total=line["replay"]["of"])

        wanted = json.dumps({"asked": asked.model_dump(mode="json"), "by": by})
        relay(asked.service, ["replay-plan"], said, stdin=wanted)
    if not found:
        raise CommandFailedError(f"services.{asked.service} printed no plan")
    return found[0]


def described(made: Plan) -> Iterator[str]:
    """Yield a plan in sentences."""
    asked, found = made.asked, made.found
    until = made.made_at if asked.until is None else asked.until
    since = "the beginning" if asked.since is None else f"{asked.since:%Y-%m-%d %H:%M:%S}"
    yield f"{asked.service} folds {asked.topic} again:"
    yield f"  from {since} to {until:%Y-%m-%d %H:%M:%S} UTC by {asked.by}"
    types = ", ".join(f"{name} {count:,}" for name, count in sorted(found.by_type.items()))
    yield f"  {found.chosen:,} records of {found.read:,} read" + (f" ({types})" if types else "")
    never = sum(found.effects.values()) + sum(found.forbidden.values())
    will = f", will be: {listed(found.effects)}" if found.effects else ""
    texts, grants = (_forbidden(found.forbidden, word) for word in ("text", "grant"))
    yield f"  already decided: {found.without_effect:,}; never decided: {never:,}{will}; texts {texts}, grants {grants}"
    used = found.chosen - found.unused
    share = f"{found.stale / used:.0%}" if used else "none"
    yield f"  stale: {share}; of types that the service does not use: {found.unused:,}; too old to fold: {found.aged:,}"
    others = sum(found.unfoldable.values())
    yield f"  dead letters already: {found.dead_letters:,}; others that cannot be folded: {others:,}"
    for cause, count in found.unfoldable.items():
        yield f"    {count} x {cause}; passed over, nothing is kept of them"
    if found.changes:
        yield f"  rows written: {listed(found.changes)}; events published: {listed(found.publishes)}"
    elif not found.forbidden:
        yield "  Running it changes nothing."
    if found.forbidden:
        yield f"  This plan is refused: {listed(found.forbidden)}. A replay never causes that."
    yield f"  code {made.code[:12]}, configuration {made.limits[:12]}, plan {made.hash[:12]}"


def _forbidden(counts: dict[str, int], word: str) -> int:
    return sum(count for name, count in counts.items() if name.startswith(word))
