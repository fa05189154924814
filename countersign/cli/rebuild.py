"""Make a read model anew from the topics, hold it against the live one, and put it in its place.

READ-MODEL is known-places: where people of an account logged in from. Without --execute it is only compared; the
live table is read, and who learns a place waits for the moment of the comparison. With --execute the fresh table takes
the live one's place in one transaction; the old one stays as `place_before_rebuild` until the next rebuild. Where the
topics do not reach back as far as places count, --older has to say what becomes of what they cannot tell.

It runs as the risk-evaluator, with its settings: COUNTERSIGN_SECRETS_FILE and the others, or those of the local stack.
The verifier must answer, as grants are verified. With --json one JSON object is printed. Exit codes: 0 equal, or
swapped; 1 they differ, or a swap was refused; 2 what kept it from its work: then the live table is as it was.

try:
  countersign rebuild known-places
  countersign rebuild known-places --reason "restored from a backup" --execute
  countersign rebuild known-places --older keep --reason "restored from a backup" --execute
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countersign.cli.options import AsJson, Execute, Reason, Who, reason_of
from countersign.cli.service_program import answer_of
from countersign.operations import journal

if TYPE_CHECKING:
    from collections.abc import Iterator

HELP = "make a read model anew from the topics, compare, swap"
_VERDICTS = {
    "missing": "rows are missing in the live table",
    "extra": "live rows are not in the topics",
    "different": "rows have other times of use than the topics tell",
    "older": "live rows are older than the topics, which cannot tell of them",
}


class ReadModel(StrEnum):
    """What can be made anew."""

    known_places = "known-places"


class Older(StrEnum):
    """What becomes of rows that the topics cannot tell of."""

    keep = "keep"
    drop = "drop"


def command(
    read_model: Annotated[ReadModel, typer.Argument(metavar="READ-MODEL", help="known-places")],
    *,
    older: Annotated[
        Older | None, typer.Option(help="rows from before the topics begin: keep them or drop them")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, max=100, help="of each difference at most this many")] = 3,
    reason: Reason = None,
    execute: Execute = False,
    who: Who = None,
    as_json: AsJson = False,
) -> int:
    """Order it, and print what came of it."""
    del read_model  # there is one
    order = {
        "execute": execute,
        "who": who or journal.who(),
        "reason": reason_of(reason) if execute else "",
        "older": older,
        "examples": examples,
    }
    found = answer_of("risk_evaluator", "rebuild-places", "rebuild", order)
    sys.stdout.writelines([json.dumps(found) + "\n"] if as_json else (f"{line}\n" for line in _lines(found, execute)))
    if execute:
        return 0 if found["rows_now"] is not None else 1
    return 0 if found["equal"] else 1


def _lines(found: dict[str, Any], execute: bool) -> Iterator[str]:
    live, rebuilt = found["live"], found["rebuilt"]
    yield f"live     {live['rows']:,} rows  checksum {live['checksum']}"
    yield f"rebuilt  {rebuilt['rows']:,} rows  checksum {rebuilt['checksum']}  from {found['records']:,} records"
    yield "They are equal." if found["equal"] else "They differ."
    for verdict, words in _VERDICTS.items():
        if count := found["verdicts"].get(verdict):
            yield f"{count:,} {words}"
            yield from (_example(one) for one in found["examples"] if one["verdict"] == verdict)
    yield from _limits(found)
    if found["rows_now"] is not None:
        yield f"Swapped: the table has {found['rows_now']:,} rows now; the old one is place_before_rebuild."
    elif found["refused"] is not None:
        would = "Not swapped" if execute else "A swap would be refused"
        yield f"{would}: {found['refused']}. Say --older keep or --older drop."
    elif not execute:
        yield "Nothing was done: add --reason and --execute."


def _limits(found: dict[str, Any]) -> Iterator[str]:
    """Yield what the topics cannot tell, and what may only be late."""
    days = found["places_count_for_days"]
    if not found["reaches_far_enough"]:
        counted = "for ever" if days == 0 else f"for {days:.0f} days"
        yield f"The topics reach back to {found['topics_reach_back_to']}, and places count {counted}."
    for name, words in (
        ("grants_without_assessment", "grants are of requests that the service no longer knows: they taught nothing."),
        ("grants_by_keys_gone", "grants are by keys that the verifier publishes no more: they taught nothing."),
        ("records_refused", "records cannot be read, or are refused as the service refuses them."),
    ):
        if found[name]:
            yield f"{found[name]:,} {words}"
    if found["verdicts"].get("missing"):
        yield "See `countersign lag --group countersign.risk_evaluator`: what it has not read yet is missing for now."


def _example(one: dict[str, Any]) -> str:
    live = f"live {one['live_first']} to {one['live_last']}" if one["live_first"] else "not live"
    rebuilt = f"topics {one['rebuilt_first']} to {one['rebuilt_last']}" if one["rebuilt_first"] else "not in the topics"
    return f"  account {one['account_id']}  taught by {one['taught_by']}  place {one['place']}  {live}; {rebuilt}"
