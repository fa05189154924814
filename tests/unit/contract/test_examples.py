"""The examples that others copy: each is read by the real reader, and its digests, seals and signatures are real."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from countersign import client
from countersign.client.grant import Expected, PublishedKey, Realm, judge_grant
from countersign.contract import (
    EVENTS,
    AccessGranted,
    AccessRequested,
    base64url,
    canonical,
    digest_of,
    examples,
    from_base64url,
    reader,
)
from countersign.contract.topic_files import schemas_folder
from countersign.runtime.messages.record import Record

if TYPE_CHECKING:
    from pathlib import Path

BY_TYPE = {model.ce_type: model for model in EVENTS}
FOLDER = schemas_folder() / "examples"
VALUES = sorted(path for path in FOLDER.glob("*/*.json") if path.name.count(".") == 1)


def record_of(path: Path) -> Record:
    """Return the record that a reader would find if somebody published the two files of an example as they are."""
    headers = json.loads(path.with_suffix(".headers.json").read_text("utf-8"))
    model = BY_TYPE[path.parent.name]
    when = examples.NINE
    pairs = tuple((name, str(value).encode()) for name, value in headers.items())
    return Record(model.topic, 0, 0, None, path.read_bytes(), pairs, when)


def test_every_event_has_an_example() -> None:
    assert {path.parent.name for path in VALUES} == BY_TYPE.keys()


@pytest.mark.parametrize("path", VALUES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_example_is_read_and_fits_its_schema(path: Path) -> None:
    """By the parser that the services use and by the schema that others use."""
    record = record_of(path)
    incoming = reader(BY_TYPE[path.parent.name])(record)
    assert incoming is not None
    assert incoming.ce_id == str(incoming.event.event_id())
    schema = json.loads((schemas_folder() / "json" / f"{path.parent.name}.json").read_text("utf-8"))
    judge = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    judge.validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", VALUES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_field_of_tomorrow_is_ignored(path: Path) -> None:
    """At the top level, by the reader and by the schema."""
    record = record_of(path)
    value = json.loads(path.read_bytes()) | {"of_tomorrow": {"deep": [1, "two", None]}}
    changed = dataclasses.replace(record, value=json.dumps(value).encode())
    parse = reader(BY_TYPE[path.parent.name])
    was, now = parse(record), parse(changed)
    assert was is not None
    assert now is not None
    assert was.event == now.event


def requests() -> list[examples.Example]:
    return [each for each in examples.all_examples() if isinstance(each.event, AccessRequested)]


@pytest.mark.parametrize("example", requests(), ids=lambda example: example.name)
def test_a_requests_digest_is_that_of_what_it_authorises(example: examples.Example) -> None:
    """The summary included, so that nobody approves one text and gets another deed."""
    assert example.authorises is not None
    event = cast("AccessRequested", example.event)
    assert event.digest == digest_of(example.authorises)
    assert example.authorises["summary"] == event.summary.model_dump(exclude_none=True)


def test_the_login_is_built_as_the_client_builds_it() -> None:
    """One recipe, in the examples and in `countersign.client`."""
    secret = "the secret of this browser's session before the login"
    by_client = client.login_digest(examples.LOGIN, examples.OWNER, secret)
    login = next(example for example in requests() if example.name == "login")
    assert cast("AccessRequested", login.event).digest == by_client


def test_the_assessments_mac_is_that_of_the_published_key() -> None:
    """Over the canonical JSON of all other fields, with the bytes 00 to 1f as key."""
    for path in (FOLDER / "countersign.access.assessed.v1").glob("*.json"):
        if path.name.count(".") == 1:
            fields = json.loads(path.read_bytes())
            mac = fields.pop("mac")
            assert mac == base64url(hmac.digest(bytes(range(32)), canonical(fields), "sha256"))


def test_the_sealed_code_opens_with_the_published_key_and_nothing_changed() -> None:
    """Nonce, then AES-256-GCM with the canonical JSON of all other fields as associated data."""
    fields = json.loads((FOLDER / "countersign.challenge.issued.v1" / "login.json").read_bytes())
    sealed = from_base64url(fields.pop("sealed_code"))
    code = AESGCM(bytes(range(32, 64))).decrypt(sealed[:12], sealed[12:], canonical(fields))
    assert code == b"271828"


def grants() -> list[examples.Example]:
    return [each for each in examples.all_examples() if isinstance(each.event, AccessGranted)]


@pytest.mark.parametrize("example", grants(), ids=lambda example: example.name)
def test_an_example_grant_is_taken_by_the_client(example: examples.Example) -> None:
    """With the key of `examples/jwks.json`, for the very request it was made for."""
    event = cast("AccessGranted", example.event)
    published: dict[str, Any] = json.loads((FOLDER / "jwks.json").read_bytes())["keys"][0]
    key = PublishedKey(key_id=published["kid"], public=OKPKey.import_key(published))
    expected = Expected(
        action=event.action,
        request_id=event.request_id,
        user_id=event.user_id,
        account_id=event.account_id,
        digest=event.digest,
        req=_req_of_the_file(event),
    )
    grant = judge_grant(event.grant, expected, example.time, {key.key_id: key}, Realm())
    assert grant.expires_at == event.grant_expires_at == example.time + timedelta(minutes=5)
    assert grant.method == event.method


def _req_of_the_file(event: AccessGranted) -> str | None:
    """Return what the grant of a request says whose file, as it lies there, was published."""
    for path in (FOLDER / AccessRequested.ce_type).glob("*.json"):
        if path.name.count(".") == 1 and str(event.request_id).encode() in path.read_bytes():
            return base64url(hashlib.sha256(path.read_bytes()).digest())
    return None
