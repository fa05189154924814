"""Judge recorded requests again by another policy, from the log alone: nothing is written, nothing is published.

Says how many would have come out otherwise, with examples; the challenge rate, the texts a day and what they cost, old
and new. People are taken to answer as they did: a place is learned from a log-in that was granted then.

It runs as the risk-evaluator, with its settings: COUNTERSIGN_SECRETS_FILE and the others, or those of the local stack.
With --json one JSON object is printed. Exit codes: 0 done, 1 the log holds no request of that time, 2 what kept it
from its work.

try:
  countersign replay shadow --policy new.yaml --last 24h
  countersign replay shadow --policy new.yaml --since 2026-03-01T00:00:00Z --until 2026-03-02T00:00:00Z --json
  countersign replay shadow --policy new.yaml --last 7d --price 0.0553 --texts-per-challenge 1.2
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from countersign import policy as policies
from countersign.cli.service_program import answer_of
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.operations.durations import parse_duration
from countersign.policy import PolicyUnfitError
from countersign.runtime.messages.times import rfc3339

NAME = "shadow"
HELP = "judge recorded requests again by another policy, without effects"
PRICE = "COUNTERSIGN_PRICE_PER_TEXT"
_TRY = "\n\ntry:\n"


def add_to(app: typer.Typer) -> None:
    """Add the command to those of `countersign replay`."""
    about, _, examples = (__doc__ or "").partition(_TRY)
    app.command(NAME, help=about, short_help=HELP, epilog="\b\ntry:\n" + examples.rstrip())(command)


def command(  # noqa: PLR0913 - one argument for each option
    *,
    policy: Annotated[Path, typer.Option(metavar="FILE", help="the policy to judge by")],
    last: Annotated[
        str | None, typer.Option(metavar="TIME", help="the latest 90s, 10m, 24h, 7d (24h if none is given)")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="requests from then on (RFC 3339)")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="requests from before then (RFC 3339)")] = None,
    price: Annotated[float | None, typer.Option(min=0, help=f"of one text, in any currency (else {PRICE})")] = None,
    texts_per_challenge: Annotated[float, typer.Option(min=1, max=10, help="more than 1 where people resend")] = 1.0,
    examples: Annotated[int, typer.Option(min=0, max=100, help="of each change at most this many")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> int:
    """Order it, and print what came of it."""
    if last is not None and since is not None:
        raise CommandFailedError("--last and --since: give one of them")
    try:
        new = policies.load(policy)
        order = {
            "policy": new.model_dump(mode="json"),
            "last": None if last is None else parse_duration(last).total_seconds(),
            "since": None if since is None else rfc3339(since).isoformat(),
            "until": None if until is None else rfc3339(until).isoformat(),
            "examples": examples,
        }
    except (PolicyUnfitError, ValueError) as error:
        raise CommandFailedError(str(error)) from None
    found = answer_of("risk_evaluator", "shadow", "shadow", order)
    found |= _rates(found, _price(price), texts_per_challenge)
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        _show(found)
    return 0 if found["requests"] else 1


def _price(given: float | None) -> float | None:
    named = Surroundings.found().get(PRICE)
    if given is not None or named is None:
        return given
    try:
        return float(named)
    except ValueError:
        raise CommandFailedError(f"{PRICE}: expected a number, such as 0.05") from None


def _rates(found: dict[str, Any], price: float | None, texts_per_challenge: float) -> dict[str, Any]:
    """Return how many requests there are, and for each policy the challenges, texts and costs."""
    requests = sum(change["requests"] for change in found["changes"])
    rates: dict[str, Any] = {"requests": requests, "texts_per_challenge": texts_per_challenge, "price_per_text": price}
    for side in ("old", "new"):
        challenges = sum(change["requests"] for change in found["changes"] if change[side] == "challenge")
        texts = challenges * texts_per_challenge / found["days"] if requests else 0.0
        rates[side] = {
            "challenges": challenges,
            "challenge_rate": challenges / requests if requests else 0.0,
            "texts_a_day": texts,
            "cost_a_day": None if price is None else texts * price,
        }
    return rates


def _show(found: dict[str, Any]) -> None:
    out = Console(soft_wrap=True, highlight=False)
    out.print(
        f"{found['requests']:,} requests from {found['since']} until {found['until']}, judged by {found['policy']}"
    )
    recorded = ", ".join(f"{count:,} by {name}" for name, count in sorted(found["recorded_policies"].items()))
    if recorded:
        out.print(f"judged then: {recorded}. Nothing was written, nothing was published.")
        out.print(_changes(found))
        out.print(_compared(found))
    for example in found["examples"]:
        out.print(
            f"  {example['old']} -> {example['new']}  {example['at']}  {example['action']}"
            f"  request {example['request_id']}  user {example['user_id']}  place {example['new_place'] or 'none'}"
            f"\n    {', '.join(example['old_reasons'])} -> {', '.join(example['new_reasons'])}"
        )
    out.print("\n".join(_notes(found)))


def _changes(found: dict[str, Any]) -> Table:
    counted: Counter[tuple[str, str]] = Counter()
    for change in found["changes"]:
        counted[change["old"], change["new"]] += change["requests"]
    table = Table("old", "new", box=None, pad_edge=False)
    table.add_column("requests", justify="right")
    table.add_column("share", justify="right")
    for (old, new), requests in sorted(counted.items()):
        bold = "" if old == new else "bold"
        table.add_row(old, new, f"{requests:,}", f"{requests / found['requests']:.1%}", style=bold)
    return table


def _compared(found: dict[str, Any]) -> Table:
    table = Table("", box=None, pad_edge=False)
    for side in ("old", "new"):
        table.add_column(side, justify="right")
    old, new = found["old"], found["new"]
    table.add_row("challenges", f"{old['challenges']:,}", f"{new['challenges']:,}")
    table.add_row("challenge rate", f"{old['challenge_rate']:.1%}", f"{new['challenge_rate']:.1%}")
    table.add_row("texts a day", f"{old['texts_a_day']:,.0f}", f"{new['texts_a_day']:,.0f}")
    if old["cost_a_day"] is not None:
        table.add_row("cost a day", f"{old['cost_a_day']:,.2f}", f"{new['cost_a_day']:,.2f}")
    return table


def _notes(found: dict[str, Any]) -> list[str]:
    """Return what has to be known of the figures."""
    reach = found["log_reaches_back_to"]["access.requests.v1"]
    days = found["places_count_for_days"]
    counted = [
        (found["same_outcome_for_other_reasons"], "requests come out the same, for other reasons."),
        (found["known_from_before_the_log"], "places were known to the service from before the log: taken as known."),
        (found["undetermined"], "new challenges are at places that the log cannot tell of: they may be known."),
        (found["numbers_assumed"], "new challenges are to users whose number the log does not tell: taken as there."),
        (found["repeated"], "records repeat a request, and count once."),
        (found["disputed"], "requests have another content than the one that was judged: left out."),
        (found["unjudged"], "requests have no judgement in the log, as they were refused or wait: left out."),
        (sum(found["unread"].values()) + found["untakeable"], "records cannot be read: left out."),
    ]
    notes = [f"{count:,} {words}" for count, words in counted if count]
    if reach is not None:
        kept = "for ever" if days == 0 else f"for {days:.0f} days"
        notes.insert(
            0,
            f"The log reaches back to {reach}. By this policy places count {kept}: log-ins from places that were used "
            "before that, and not since, count as new here.",
        )
    return notes
