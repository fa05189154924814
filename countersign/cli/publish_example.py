"""Publish an example event with fresh ids, and print the record.

An access request gets a digest that fits it. Fields are set one by one; values are JSON, or else text. With the local
stack running, the request is the demonstration owner's, and --wait shows what became of it. With --json one JSON object
is printed.

Exit codes: 0 published, or shown with --dry-run; 2 it was not published.

try:
  countersign publish-example access.requested --wait 5
  countersign publish-example access.requested --set action=export --set summary.what="Spring customers"
  countersign publish-example access.requested --set client.ip=null --dry-run
  countersign publish-example access.requested --set action=fly --anyway    (and see `countersign why`)
  countersign publish-example account.member_set --set user_id=... --set version=4
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from countersign import client
from countersign.cli.options import AsJson  # noqa: TC001 - typer reads the annotations
from countersign.cli.surroundings import CommandFailedError, Surroundings
from countersign.clock import new_id, system_clock
from countersign.contract import AccessRequested, MemberRemoved, MemberSet, digest_of, examples
from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.broker.kafka_refusal import refusal_of, words_of_kafka
from countersign.runtime.checkup import without_logs_of_kafka
from countersign.runtime.messages.cloudevents import Event, write_raw
from countersign.runtime.messages.findings import findings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import TextIO

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.messages.record import Outgoing

HELP = "publish an example event with fresh ids, and print the record"
# What programs outside Countersign write.
_MODELS: dict[str, type[Event]] = {
    "access.requested": AccessRequested,
    "account.member_set": MemberSet,
    "account.member_removed": MemberRemoved,
}
_SECONDS = 10


EventName = StrEnum("EventName", {name.replace(".", "_"): name for name in sorted(_MODELS)})  # type: ignore[misc] # the names above


def command(  # noqa: PLR0913 - one argument for each option
    event: Annotated[EventName, typer.Argument(help="which event")],
    *,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="set a field, e.g. client.ip=198.51.100.9")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Kafka (else KAFKA_BOOTSTRAP_SERVERS)")
    ] = None,
    source: Annotated[str, typer.Option(help="the last part of ce_source")] = "example",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the record and publish nothing")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="publish it even if it does not fit the contract")] = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="ask the verifier what became of the request")] = 0,
    as_json: AsJson = False,
) -> int:
    """Print, publish, print where it lies."""
    chosen = Example(event.value, tuple(assignments or ()), bootstrap, source, dry_run, anyway, wait, as_json)
    return run(chosen, Surroundings.found(), sys.stdout)


@dataclass(frozen=True, slots=True)
class Example:
    """What to publish, and how."""

    event: str
    assignments: tuple[str, ...]
    bootstrap: str | None
    source: str
    dry_run: bool
    anyway: bool
    wait: float
    as_json: bool = False


def run(chosen: Example, around: Surroundings, out: TextIO) -> int:
    """Do it and return the exit code."""
    now = system_clock()
    fields = _with_set(_fresh(chosen.event, around, now), chosen.assignments)
    authorises = _digested(fields) if chosen.event == "access.requested" else None
    outgoing = _outgoing(_MODELS[chosen.event], fields, chosen.source, now, anyway=chosen.anyway)
    if not chosen.as_json:
        _show(outgoing, authorises, out)
    placed = None
    if not chosen.dry_run:
        kafka = around.kafka(chosen.bootstrap, as_producer=True)
        with without_logs_of_kafka():
            placed = asyncio.run(_publish(kafka, outgoing))
    became = None
    if not chosen.as_json and placed is not None:
        _show_place(outgoing, placed, out)
    if chosen.wait and placed is not None and authorises is not None:
        became = asyncio.run(what_became_of(str(fields.get("request_id")), chosen.wait, around))
    if chosen.as_json:
        out.write(json.dumps(_document(outgoing, authorises, placed, became)) + "\n")
    elif became is not None:
        out.write(f"{became}\n")
    return 0


def _show_place(outgoing: Outgoing, placed: tuple[int, int], out: TextIO) -> None:
    partition, offset = placed
    out.write(f"\npublished to partition {partition}, offset {offset}\n")
    out.write(f"refused?  countersign why --topic {outgoing.topic} --partition {partition} --offset {offset}\n")


def _document(
    outgoing: Outgoing, authorises: dict[str, Any] | None, placed: tuple[int, int] | None, became: str | None
) -> dict[str, Any]:
    return {
        "topic": outgoing.topic,
        "key": outgoing.key.decode(),
        "headers": {name: value.decode() for name, value in outgoing.headers},
        "value": json.loads(outgoing.value),
        "authorises": authorises,
        "partition": None if placed is None else placed[0],
        "offset": None if placed is None else placed[1],
        "became": became,
    }


async def what_became_of(request_id: str, seconds: float, around: Surroundings) -> str:
    """Return in a sentence what the verifier says of a request."""
    url, token = around.get("VERIFIER_URL"), around.get("SERVICE_TOKEN")
    if url is None or token is None:
        return "What became of it the verifier says: set VERIFIER_URL and SERVICE_TOKEN."
    try:
        async with client.Decisions(url, token) as decisions:
            state = await decisions.wait(UUID(request_id), seconds)
    except (client.VerifierAwayError, client.CallRefusedError, ValueError) as error:
        return f"The verifier does not say what became of it: {error}"
    if state.challenge is not None:
        return f"challenged: a code to {state.challenge.number_hint}, text {state.challenge.text}"
    if state.state == "refused":
        return f"refused: {state.cause}"
    if state.state == "undecided":
        return "undecided: no assessment of it came yet"
    return f"{state.state}{f': {state.reason}' if state.reason else ''}"


def _fresh(event: str, around: Surroundings, now: datetime) -> dict[str, Any]:
    """Return an example's fields with ids of now, and the demonstration's account and owner where there is one."""
    example = next(each for each in examples.all_examples() if type(each.event) is _MODELS[event])
    fields: dict[str, Any] = json.loads(example.event.model_dump_json())
    fields["account_id"] = around.get("DEMO_ACCOUNT_ID") or fields["account_id"]
    if event == "access.requested":
        fields |= {"request_id": str(new_id(now)), "user_id": around.get("DEMO_OWNER_ID") or fields["user_id"]}
        del fields["digest"]
    else:
        fields["user_id"] = str(new_id(now))
    return fields


def _with_set(fields: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not (path and equals):
            raise CommandFailedError("--set: expected FIELD=VALUE")
        *parents, last = path.split(".")
        place = fields
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise CommandFailedError(f"--set {path}: {parent} has no fields")
        place[last] = _value(text)
    return fields


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _digested(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Put the digest in, unless it was set; return what it is the digest of."""
    if "digest" in fields:
        return {}
    summary = fields.get("summary")
    shown = {name: value for name, value in summary.items() if value is not None} if isinstance(summary, dict) else {}
    authorises = {
        "request_id": fields.get("request_id"),
        "user_id": fields.get("user_id"),
        "session": digest_of({"secret": str(uuid4())}),
        "summary": shown,
    }
    try:
        fields["digest"] = digest_of(authorises)
    except ValueError as error:
        raise CommandFailedError(f"no digest of this: {error}") from None
    return authorises


def _outgoing(model: type[Event], fields: dict[str, Any], source: str, now: datetime, *, anyway: bool) -> Outgoing:
    value = json.dumps(fields).encode()
    try:
        return write_raw(model.model_validate_json(value), value, source=source, time=now)  # odd hints as they were set
    except ValidationError as error:
        if not anyway:
            told = "; ".join(findings(error))
            raise CommandFailedError(
                f"{told}\n(--anyway publishes it all the same: its readers make a dead letter of it)"
            ) from None
    good = next(each.event for each in examples.all_examples() if type(each.event) is model)
    unfit = good.model_copy(update=fields)  # for key and ce_id alone
    return write_raw(unfit, value, source=source, time=now)


def _show(outgoing: Outgoing, authorises: dict[str, Any] | None, out: TextIO) -> None:
    out.write(f"topic   {outgoing.topic}\nkey     {outgoing.key.decode()}\n")
    out.writelines(f"header  {name}: {value.decode()}\n" for name, value in outgoing.headers)
    out.write(f"value   {json.dumps(json.loads(outgoing.value), indent=2, ensure_ascii=False)}\n")
    if authorises:
        out.write(f"digest  of {json.dumps(authorises, ensure_ascii=False)}\n")


async def _publish(kafka: KafkaConnection, outgoing: Outgoing) -> tuple[int, int]:
    try:
        arguments = kafka.arguments()
    except OSError as error:
        raise CommandFailedError(await words_of_kafka(kafka)) from error
    producer = AIOKafkaProducer(
        **arguments,
        enable_idempotence=True,
        request_timeout_ms=_SECONDS * 1000,
        metadata_max_age_ms=METADATA_AGE_MS,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            await producer.start()
            sent = await producer.send_and_wait(
                outgoing.topic, outgoing.value, key=outgoing.key, headers=list(outgoing.headers)
            )
    except (KafkaError, OSError, TimeoutError) as error:
        kind, bootstrap = type(error).__name__, kafka.bootstrap_servers
        raise CommandFailedError(
            await refusal_of(kafka)
            or f"Kafka at {bootstrap} did not take it within {_SECONDS} s ({kind}): is it running?"
        ) from error
    finally:
        await producer.stop()
    return sent.partition, sent.offset
