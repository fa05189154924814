"""Exports attacked, and fed what is odd but honest: other sessions, forged denials, any text."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.client import ExportTerms, contacts_digest, export_digest, session_digest
from tests.support.events import clock
from tests.support.grants import DENIAL_TYP, Signer, denial_claims_of

if TYPE_CHECKING:
    from tests.services.exports.exporting import Exporting

pytestmark = pytest.mark.servers


async def test_the_file_goes_to_the_session_that_asked(exports: Exporting) -> None:
    """Another session of the same user gets 404 before and after; the digest covers the session."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    elsewhere = {**customer.user, "session": session_digest("another session of the same user")}
    paths = (f"/v1/exports/{export_id}", f"/v1/exports/{export_id}/file")
    assert [(await exports.call("GET", path, params=elsewhere)).status for path in paths] == [404, 404]
    await exports.publish(exports.granted(request))
    await exports.becomes(customer, export_id, "ready")
    assert [(await exports.call("GET", path, params=elsewhere)).status for path in paths] == [404, 404]
    assert (await exports.file(customer, export_id)).status == 200
    again = exports.body(customer, export_id=str(export_id), session=elsewhere["session"])
    assert (await exports.call("POST", "/v1/exports", json=again)).status == 409


async def test_a_grant_for_another_session_writes_nothing(exports: Exporting) -> None:
    """Approved in one browser, it opens nothing in another."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    terms = ExportTerms(
        export_id=export_id,
        account_id=customer.account_id,
        user_id=customer.user_id,
        list_id=customer.list_id,
        format="csv",
        rows=3,
        contacts=contacts_digest(customer.contact_ids),
        session=bytes(32),
    )
    digest = export_digest(terms, request.summary)
    await exports.publish(exports.granted(request.model_copy(update={"digest": digest})))
    assert (await exports.dead(export_id)).startswith("digest")
    assert (await exports.read(customer, export_id))["state"] == "waiting"


@pytest.mark.parametrize("proof", ["none", "another key", "another request", "another reason", "a grant", "nonsense"])
async def test_a_forged_denial_ends_nothing(exports: Exporting, proof: str) -> None:
    """It is a dead letter that names the proof; only what the verifier signed about this very export ends it."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    ids = request.model_dump(include={"request_id", "account_id", "user_id", "action", "digest"}, mode="json")
    claims = denial_claims_of(**ids, now=clock(), reason="locked")
    forged = {
        "none": None,
        "another key": Signer(exports.signer.key_id).sign(claims, typ=DENIAL_TYP),
        "another request": exports.signer.sign({**claims, "jti": str(uuid4())}, typ=DENIAL_TYP),
        "another reason": exports.signer.sign({**claims, "reason": "because"}, typ=DENIAL_TYP),
        "a grant": exports.signer.sign(exports.claims(request)),
        "nonsense": "a.b.c",
    }[proof]
    await exports.publish(exports.denied(request, proof=forged))
    assert (await exports.dead(export_id)).startswith("proof")
    assert (await exports.read(customer, export_id))["state"] == "waiting"
    await exports.publish(exports.granted(request))
    await exports.becomes(customer, export_id, "ready")


async def test_a_denial_says_what_was_signed(exports: Exporting) -> None:
    """The unsigned reason beside it is not acted on."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    ids = request.model_dump(include={"request_id", "account_id", "user_id", "action", "digest"}, mode="json")
    proof = exports.signer.sign(denial_claims_of(**ids, now=clock(), reason="locked"), typ=DENIAL_TYP)
    await exports.publish(exports.denied(request, "code.expired", proof=proof))
    assert (await exports.becomes(customer, export_id, "denied"))["reason"] == "locked"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Spring\u2028customers", "Spring customers"),
        ("\u2029", None),
        ("x" * 59 + " y", "x" * 59),
        ("\u202eLTR \ufeff\U0001f600 \ue000\ufffe", "\u202eLTR \ufeff\U0001f600 \ue000\ufffe"),
    ],
)
async def test_a_list_may_have_any_name(exports: Exporting, name: str, told: str | None) -> None:
    """The text shows what a text can show; the page shows the name as it is."""
    customer = await exports.a_customer(rows=1)
    await exports.pool.execute("UPDATE contact_list SET name = $2 WHERE list_id = $1", customer.list_id, name)
    export_id = await exports.ask(customer)
    assert (await exports.read(customer, export_id))["list_name"] == name[:60]
    request = await exports.requested(export_id)
    assert request.summary.what == told
    await exports.publish(exports.granted(request))
    await exports.becomes(customer, export_id, "ready")


async def test_a_contact_may_hold_anything(exports: Exporting) -> None:
    """Separators of lines, marks of direction, attributes that are no text: in the page and in both files."""
    customer = await exports.a_customer(rows=1)
    odd = "a\u2028b\u2029c\x85d\u202ee\x00f".replace("\x00", "\x1b")
    attributes = json.dumps({"age": 7, "tags": ["x"], "left": None, odd: odd})
    await exports.pool.execute(
        "UPDATE contact SET name = $2, email = $2, attributes = $3 WHERE list_id = $1",
        customer.list_id,
        odd,
        attributes,
    )
    page = await exports.call("GET", f"/v1/lists/{customer.list_id}/contacts", params=customer.user)
    assert page.body["contacts"][0]["name"] == odd
    export_ids = [await exports.ask(customer, format=file_format) for file_format in ("csv", "jsonl")]
    for export_id in export_ids:
        await exports.publish(exports.granted(await exports.requested(export_id)))
        await exports.becomes(customer, export_id, "ready")
    as_csv, as_lines = [(await exports.file(customer, export_id)).body for export_id in export_ids]
    (row,) = csv.DictReader(io.StringIO(as_csv.decode("utf-8-sig"), newline=""))
    assert (row["name"], row[odd], row["age"], row["tags"], row["left"]) == (odd, odd, "7", '["x"]', "")
    (line,) = as_lines.decode().splitlines()
    assert {**json.loads(line), "contact_id": None} == {
        "contact_id": None,
        "name": odd,
        "email": odd,
        odd: odd,
        "age": "7",
        "tags": '["x"]',
        "left": "",
    }
