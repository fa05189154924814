"""Says whether a message can be read, by reading it with the services' own reader; and every fault with its mend.

After each fault that the reader names, the fault is mended in a copy and the copy is read again. So a message is
refused here if and only if its reader refuses it, and the first fault is the cause that its dead letter would have.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from countersign.contract import reader
from countersign.contract.examples import all_examples
from countersign.contract.topic_files import topic_files
from countersign.operations.mends import (
    mend_of_header,
    mend_of_key,
    mend_of_repair,
    mend_of_value,
    unknown_fields,
)
from countersign.runtime.errors import OffContractError
from countersign.runtime.messages.cloudevents import parse_value
from countersign.runtime.messages.findings import finding_words

if TYPE_CHECKING:
    from countersign.runtime.messages.cloudevents import Event
    from countersign.runtime.messages.record import Headers, Incoming, Record

_HEADER = re.compile(r"header ([\w-]+): ")
_STRUCTURED = "header content-type: "
_ENVELOPE = ("specversion", "data")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is not as the contract says. `cause` names the field and quotes no value; `mend` says what to change."""

    field: str
    cause: str
    mend: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reader makes of a message.

    `faults` are why it is refused, none if it is read. `repairs` and `remarks` refuse nothing: readers repair the first
    and do not look at the second. `incoming` is what was read, None if it was refused.
    """

    faults: tuple[Fault, ...] = ()
    repairs: tuple[Fault, ...] = ()
    remarks: tuple[Fault, ...] = ()
    incoming: Incoming[Event] | None = None


def envelope_of(model: type[Event]) -> Headers:
    """Return the headers of the contract's example of an event."""
    return next(each for each in all_examples() if type(each.event) is model).record().headers


def check_message(record: Record, model: type[Event], *, with_key: bool = False) -> Verdict:
    """Return what a reader of `model` makes of a record; with_key: its key is looked at, which readers do not do."""
    read = reader(model)
    faults: list[Fault] = []
    copy = record
    while True:
        try:
            incoming = read(copy)
        except OffContractError as refusal:
            found, copy = _refused(refusal.cause, copy, model)
            faults += found
        else:
            if incoming is not None:
                break
            mend = mend_of_header("ce_type", dict(copy.headers), model)
            faults.append(Fault("ce_type", f"header ce_type: names another event than {model.ce_type}", mend))
            copy = _with_header(copy, "ce_type", model)
            continue
        if copy.value is None:
            return Verdict(tuple(faults))
    remarks = _unknown(copy, model) + (_key(record, incoming.event, model) if with_key else [])
    repairs = tuple(
        Fault(each.field, f"{each.field}: {each.words}", mend_of_repair(each.field)) for each in incoming.repairs
    )
    return Verdict(tuple(faults), repairs, tuple(remarks), None if faults else incoming)


def _refused(cause: str, record: Record, model: type[Event]) -> tuple[list[Fault], Record]:
    """Return the faults of a refusal and a copy without them; its value is None if no more can be found."""
    header = _HEADER.match(cause)
    if header is None:
        faults, mended = _value_faults(cause, record.value or b"", model)
        return faults, replace(record, value=mended)
    name = header[1]
    fault = Fault(name, cause, mend_of_header(name, dict(reversed(record.headers)), model))
    if not cause.startswith(_STRUCTURED):
        return [fault], _with_header(record, name, model)
    # All of structured mode is one mistake: what it carries is checked as if it had been sent in binary mode.
    return [fault], replace(record, headers=envelope_of(model), value=_carried(record.value))


def _value_faults(cause: str, value: bytes, model: type[Event]) -> tuple[list[Fault], bytes | None]:
    try:
        parse_value(model, value, [])
    except ValidationError as error:
        fields = _fields(value)
        if all(name in fields for name in _ENVELOPE):
            mend = "is it structured mode? Put the envelope into ce_ headers and publish `data` alone as the value"
            return [Fault("value", f"value: it is an envelope with data in it; {cause}", mend)], _carried(value)
        faults = [
            Fault(
                ".".join(str(part) for part in finding["loc"]) or "value",
                finding_words(finding),
                mend_of_value(dict(finding), model, value),
            )
            for finding in error.errors(include_url=False)
        ]
        return faults, None
    field = cause.partition(":")[0]
    return [Fault(field, cause, "send less: only the event's own fields, and only the contract's headers")], None


def _with_header(record: Record, name: str, model: type[Event]) -> Record:
    good = dict(envelope_of(model))[name]
    others = tuple(pair for pair in record.headers if pair[0] != name)
    return replace(record, headers=((name, good), *others))


def _carried(value: bytes | None) -> bytes | None:
    """Return what an envelope in structured mode carries as JSON; None if it carries nothing."""
    data = _fields(value or b"").get("data")
    return None if data is None else json.dumps(data).encode()


def _fields(value: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _unknown(record: Record, model: type[Event]) -> list[Fault]:
    fields = _fields(record.value or b"")
    return [
        Fault(name, f"{name}: the contract has no such field, and readers ignore it", mend)
        for name, mend in _unknown_below(fields, model, "").items()
    ]


def _unknown_below(fields: dict[str, Any], model: type[BaseModel], above: str) -> dict[str, str]:
    """Return unknown fields of an object and of the objects in it, by path."""
    found = {f"{above}{name}": mend for name, mend in unknown_fields(fields, model).items()}
    for name, field in model.model_fields.items():
        part, value = field.annotation, fields.get(name)
        if isinstance(part, type) and issubclass(part, BaseModel) and isinstance(value, dict):
            found |= _unknown_below(value, part, f"{above}{name}.")
    return found


def _key(record: Record, event: Event, model: type[Event]) -> list[Fault]:
    wanted = event.record_key()
    if record.key == wanted.encode():
        return []
    field = next(each.key for each in topic_files() if each.topic == model.topic)
    ids = {name: str(value) for name, value in event.model_dump().items() if name.endswith("_id") and value is not None}
    cause, _, mend = mend_of_key(record.key, wanted, field, ids).partition("; ")
    return [Fault("key", cause, mend)]
