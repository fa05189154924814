"""Check a message offline, as its readers would: nothing is sent, nothing is asked.

Reads the value from a file, or from standard input with `-`. Without --headers the envelope is taken as right. A line
`repaired: ...` names a field that decides nothing and is not as the contract says: it is read, but better mended. With
--authorises the digest is checked too, and the canonical JSON is printed that it must be the SHA-256 of.

try:
  countersign check-message request.json --type access.requested
  countersign check-message request.json --type access.requested --authorises authorises.json
  countersign check-message member.json --headers member.headers.json
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countersign.cli.surroundings import Failed
from countersign.contract import EVENTS, canonical, digest_of, reader
from countersign.contract.examples import all_examples
from countersign.runtime.errors import OffContract
from countersign.runtime.record import Record

if TYPE_CHECKING:
    from typing import TextIO

    from countersign.runtime.cloudevents import Event
    from countersign.runtime.record import Headers

NAME = "check-message"
HELP = "check a message offline, as its readers would"
_BY_NAME = {model.ce_type.removeprefix("countersign.").rpartition(".")[0]: model for model in EVENTS}
_TYPES = f"one of {', '.join(sorted(_BY_NAME))}"
_APPENDED = datetime(2026, 1, 1, tzinfo=UTC)  # plays no part in whether a record can be read


EventName = StrEnum("EventName", {name.replace(".", "_"): name for name in sorted(_BY_NAME)})  # type: ignore[misc] # the contract's names


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the value: JSON, `-` for standard input")],
    type_: Annotated[EventName | None, typer.Option("--type", metavar="TYPE", help=_TYPES)] = None,
    headers: Annotated[str | None, typer.Option(metavar="FILE", help="the headers: a JSON object of strings")] = None,
    authorises: Annotated[
        str | None, typer.Option(metavar="FILE", help="what the digest is made of: a JSON object")
    ] = None,
) -> int:
    """Print `fits` and what is repaired, or the cause that a dead letter would have."""
    return run(file, None if type_ is None else type_.value, headers, authorises, sys.stdout)


def run(file: str, type_: str | None, headers_file: str | None, authorises: str | None, out: TextIO) -> int:
    """Print it and return the exit code."""
    headers = _headers(headers_file)
    model = _model(type_, headers)
    record = Record(model.topic, 0, 0, None, _bytes(file), headers or _envelope(model), _APPENDED)
    try:
        incoming = reader(model)(record)
    except OffContract as refusal:
        out.write(f"refused: {refusal.cause}\n")
        return 1
    if incoming is None:
        out.write(f"refused: the headers say another type than {model.ce_type}\n")
        return 1
    out.write(f"fits {model.ce_type} on {model.topic}, key {incoming.event.record_key()}\n")
    out.writelines(f"repaired: {repair.field}: {repair.words}\n" for repair in incoming.repairs)
    return _check_digest(incoming.event, authorises, out) if authorises else 0


def _check_digest(event: Event, file: str, out: TextIO) -> int:
    authorises = _object(file)
    try:
        text, digest = canonical(authorises).decode(), digest_of(authorises)
    except ValueError as error:
        out.write(f"refused: {file}: {error}\n")
        return 1
    out.write(f"canonical JSON: {text}\nits digest:     {digest}\n")
    if getattr(event, "digest", None) != digest:
        out.write("refused: digest: is not that of what is authorised\n")
        return 1
    return 0


def _model(name: str | None, headers: Headers | None) -> type[Event]:
    if name is not None:
        return _BY_NAME[name]
    ce_type = dict(headers or ()).get("ce_type", b"").decode("utf-8", "replace")
    for model in EVENTS:
        if model.ce_type == ce_type:
            return model
    raise Failed("which event? Give --type, or --headers with a ce_type of the contract")


def _envelope(model: type[Event]) -> Headers:
    return next(each for each in all_examples() if type(each.event) is model).record().headers


def _headers(file: str | None) -> Headers | None:
    return None if file is None else tuple((name, str(value).encode()) for name, value in _object(file).items())


def _object(file: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(file))
    except ValueError:
        raise Failed(f"{file}: expected JSON") from None
    if not isinstance(found, dict):
        raise Failed(f"{file}: expected a JSON object")
    return found


def _bytes(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}") from None
