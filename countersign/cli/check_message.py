"""Check a message offline, as its readers would: nothing is sent, nothing is asked.

Reads the value from a file, or from standard input with `-`. Without --headers the envelope is taken as right, without
--key the key is. Every fault is printed, each with its mend:

`refused: ...` is what a dead letter would say. `repaired: ...` names a field that decides nothing and is not as the
contract says: it is read, but better mended. `remark: ...` names what readers do not look at: an unknown field, a key
that is not the one of the topic. With --authorises the digest is checked too, and the canonical JSON is printed that it
must be the SHA-256 of. With --json one JSON object is printed.

Exit codes: 0 the message is read (with --strict: and there is nothing to mend), 1 it is refused, 2 a file cannot be
read.

try:
  countersign check-message request.json --type access.requested
  countersign check-message request.json --type access.requested --authorises authorises.json
  countersign check-message member.json --headers member.headers.json --strict
  countersign check-message login.json --type access.requested --key 019ca8e4-1c00-7a01-8000-0000000000a1 --json
"""

from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64encode
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countersign.cli.surroundings import CommandFailedError
from countersign.contract import EVENTS, canonical, digest_of
from countersign.operations.mends import near_header
from countersign.operations.messages import Fault, Verdict, check_message, envelope_of
from countersign.runtime.messages.record import Record

if TYPE_CHECKING:
    from typing import TextIO

    from countersign.runtime.messages.cloudevents import Event
    from countersign.runtime.messages.record import Headers

HELP = "check a message offline, as its readers would"
_BY_NAME = {model.ce_type.removeprefix("countersign.").rpartition(".")[0]: model for model in EVENTS}
_TYPES = f"one of {', '.join(sorted(_BY_NAME))}"
_APPENDED = datetime(2026, 1, 1, tzinfo=UTC)  # plays no part in whether a record can be read


EventName = StrEnum("EventName", {name.replace(".", "_"): name for name in sorted(_BY_NAME)})  # type: ignore[misc] # the contract's names


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the value: JSON, `-` for standard input")],
    *,
    type_: Annotated[EventName | None, typer.Option("--type", metavar="TYPE", help=_TYPES)] = None,
    headers: Annotated[str | None, typer.Option(metavar="FILE", help="the headers: a JSON object of strings")] = None,
    key: Annotated[str | None, typer.Option(metavar="TEXT", help="the record's key")] = None,
    authorises: Annotated[
        str | None, typer.Option(metavar="FILE", help="what the digest is made of: a JSON object")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 if anything is to be mended")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print a JSON object")] = False,
) -> int:
    """Print `fits`, or each cause that a dead letter would have, and the mends."""
    given, value = _headers(headers), _bytes(file)
    model = _model(None if type_ is None else type_.value, given, value)
    record = Record(
        model.topic,
        0,
        0,
        None if key is None else key.encode("utf-8", "surrogateescape"),
        value,
        envelope_of(model) if given is None else given,
        _APPENDED,
    )
    verdict = check_message(record, model, with_key=key is not None)
    digest, faults = _digest(verdict, authorises) if authorises else ({}, ())
    every = (*verdict.faults, *faults)
    if as_json:
        sys.stdout.write(json.dumps(_document(model, verdict, every) | digest) + "\n")
    else:
        _print(model, verdict, every, digest, sys.stdout)
    return 1 if every or (strict and (verdict.repairs or verdict.remarks)) else 0


def _document(model: type[Event], verdict: Verdict, faults: tuple[Fault, ...]) -> dict[str, Any]:
    return {
        "fits": not faults,
        "type": model.ce_type,
        "topic": model.topic,
        "key": None if verdict.incoming is None else verdict.incoming.event.record_key(),
        "faults": [asdict(fault) for fault in faults],
        "repairs": [asdict(fault) for fault in verdict.repairs],
        "remarks": [asdict(fault) for fault in verdict.remarks],
    }


def _print(
    model: type[Event], verdict: Verdict, faults: tuple[Fault, ...], digest: dict[str, str], out: TextIO
) -> None:
    if verdict.incoming is not None:
        out.write(f"fits {model.ce_type} on {model.topic}, key {verdict.incoming.event.record_key()}\n")
    if digest:
        out.write(f"canonical JSON: {digest['canonical']}\nits digest:     {digest['digest']}\n")
    for word, found in (("refused", faults), ("repaired", verdict.repairs), ("remark", verdict.remarks)):
        out.writelines(f"{word}: {fault.cause}\n  mend: {fault.mend}\n" for fault in found)


def _digest(verdict: Verdict, file: str) -> tuple[dict[str, str], tuple[Fault, ...]]:
    """Return canonical JSON and digest of what is authorised, and what is wrong with the event's digest."""
    authorises = _object(file)
    try:
        text, digest = canonical(authorises).decode(), digest_of(authorises)
    except ValueError as error:
        mend = "write what is authorised with strings, whole numbers, true, false, null, arrays and objects only"
        return {}, (Fault("digest", f"digest: {file}: {error}", mend),)
    found = {"canonical": text, "digest": digest}
    came = None if verdict.incoming is None else getattr(verdict.incoming.event, "digest", None)
    if verdict.incoming is None or came == digest:
        return found, ()
    return found, (Fault("digest", "digest: is not that of what is authorised", _mend_digest(came, authorises, file)),)


def _mend_digest(came: str | None, authorises: dict[str, Any], file: str) -> str:
    """Return which usual mistake gives this digest, if one does."""
    compact = (",", ":")
    mistakes = {
        "names in another order, and spaces": json.dumps(authorises).encode(),
        "names in another order": json.dumps(authorises, separators=compact).encode(),
        "spaces between": json.dumps(authorises, sort_keys=True).encode(),
        "letters escaped as \\u....": json.dumps(authorises, sort_keys=True, separators=compact).encode(),
        "the file's own spaces and line ends": _bytes(file) if file != "-" else b"",
    }
    for mistake, made_of in mistakes.items():
        if came == urlsafe_b64encode(sha256(made_of).digest()).decode().rstrip("="):
            return f"it is the digest of JSON with {mistake}: compute it from the canonical JSON above"
    return "compute it from the canonical JSON above, or compare that byte by byte with what yours is made of"


def _model(name: str | None, headers: Headers | None, value: bytes) -> type[Event]:
    """Return the event that is meant: as told, or as the headers say, or as an envelope in the value says."""
    if name is not None:
        return _BY_NAME[name]
    given = dict(headers or ())
    stem = _stem(given.get("ce_type") or given.get(near_header("ce_type", given) or "") or _type_in(value))
    for model in EVENTS:
        if _stem(model.ce_type.encode()) == stem:
            return model
    raise CommandFailedError("which event? Give --type, or --headers with a ce_type of the contract")


def _stem(ce_type: bytes) -> str:
    text = ce_type.decode("utf-8", "replace").strip().lower()
    stem, _, version = text.rpartition(".v")
    return stem if version.isdecimal() else text


def _type_in(value: bytes) -> bytes:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return b""
    return str(found.get("type", "")).encode() if isinstance(found, dict) else b""


def _headers(file: str | None) -> Headers | None:
    return None if file is None else tuple((name, str(value).encode()) for name, value in _object(file).items())


def _object(file: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(file))
    except (ValueError, RecursionError):
        raise CommandFailedError(f"{file}: expected JSON") from None
    if not isinstance(found, dict):
        raise CommandFailedError(f"{file}: expected a JSON object")
    return found


def _bytes(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandFailedError(f"{file}: {error.strerror}") from None
