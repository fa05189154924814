"""An export from asking to its file, on real servers."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from countersign.client import ExportTerms, contacts_digest, export_digest
from countersign.contract import Summary
from tests.support.events import clock
from tests.support.grants import Signer
from tests.support.kafka import eventually, read_topic

if TYPE_CHECKING:
    from countersign.contract import AccessRequested
    from tests.services.exports.exporting import Exporting

pytestmark = pytest.mark.servers


async def test_an_export_waits_for_its_grant_and_offers_its_file(exports: Exporting) -> None:
    """M3, M8: waiting, then ready, then the file, to the row that was approved."""
    customer = await exports.a_customer(rows=3, name="Newsletter")
    export_id = await exports.ask(customer)
    waiting = await exports.read(customer, export_id)
    assert (waiting["state"], waiting["rows"], waiting["format"], waiting["reason"]) == ("waiting", 3, "csv", None)
    assert (await exports.file(customer, export_id)).status == 409
    request = await exports.requested(export_id)
    assert (request.action, request.request_id) == ("export", export_id)
    assert request.summary == Summary(what="Newsletter", rows=3, format="CSV")
    assert request.client.ip == "203.0.113.7"
    await exports.publish(exports.granted(request))
    ready = await exports.becomes(customer, export_id, "ready")
    assert ready["expires_at"] is not None
    file = await exports.file(customer, export_id)
    rows = list(csv.DictReader(io.StringIO(file.body.decode("utf-8-sig"), newline="")))
    assert [row["email"] for row in rows] == ["c000@example.net", "c001@example.net", "c002@example.net"]
    assert file.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert file.headers["Content-Disposition"].startswith("attachment; ")
    assert file.headers["Cache-Control"] == "no-store"
    left = await exports.pool.fetchval("SELECT count(*) FROM frozen_contact WHERE export_id = $1", export_id)
    assert left == 0


async def test_a_file_holds_what_was_frozen_and_not_what_came_after(exports: Exporting) -> None:
    """Ids and content as of the asking; no spreadsheet runs a cell."""
    customer = await exports.a_customer(rows=2, city="=HYPERLINK(1)")
    as_csv = await exports.ask(customer)
    as_lines = await exports.ask(customer, format="jsonl")
    await exports.pool.execute("UPDATE contact SET name = 'changed' WHERE list_id = $1", customer.list_id)
    await exports.pool.execute("DELETE FROM contact WHERE contact_id = $1", customer.contact_ids[0])
    for export_id in (as_csv, as_lines):
        await exports.publish(exports.granted(await exports.requested(export_id)))
        await exports.becomes(customer, export_id, "ready")
    told = (await exports.file(customer, as_csv)).body.decode("utf-8-sig")
    assert "changed" not in told
    assert [row["city"] for row in csv.DictReader(io.StringIO(told, newline=""))] == ["'=HYPERLINK(1)"] * 2
    lines = [json.loads(line) for line in (await exports.file(customer, as_lines)).body.decode().splitlines()]
    assert [line["name"] for line in lines] == ["Contact 000", "Contact 001"]
    assert lines[0]["city"] == "=HYPERLINK(1)"


@pytest.mark.parametrize("reason", ["code.exhausted", "number.recent", "member.unknown", "sms.suppressed"])
async def test_a_denied_export_says_why_and_keeps_no_contacts(exports: Exporting, reason: str) -> None:
    """With `retry_at` where there is one."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    retry_at = clock() + timedelta(hours=1) if reason == "sms.suppressed" else None
    await exports.publish(exports.denied(await exports.requested(export_id), reason, retry_at=retry_at))
    ended = await exports.becomes(customer, export_id, "denied")
    assert ended["reason"] == reason
    assert (ended["retry_at"] is not None) == (retry_at is not None)
    assert (await exports.file(customer, export_id)).status == 409
    assert not await exports.pool.fetchval("SELECT count(*) FROM frozen_contact WHERE export_id = $1", export_id)


async def test_an_empty_list_can_be_exported(exports: Exporting) -> None:
    """Nothing is a file with a header."""
    customer = await exports.a_customer(rows=0)
    export_id = await exports.ask(customer)
    await exports.publish(exports.granted(await exports.requested(export_id)))
    await exports.becomes(customer, export_id, "ready")
    assert (await exports.file(customer, export_id)).body == b'\xef\xbb\xbf"contact_id","email","name"\r\n'


async def test_the_digest_is_made_of_the_row_alone(exports: Exporting) -> None:
    """Whoever asks for other rows has asked for another digest."""
    customer = await exports.a_customer()
    first = await exports.requested(await exports.ask(customer))
    second = await exports.requested(await exports.ask(customer))
    assert first.digest != second.digest
    terms = ExportTerms(
        export_id=first.request_id,
        account_id=customer.account_id,
        user_id=customer.user_id,
        list_id=customer.list_id,
        format="csv",
        rows=3,
        contacts=contacts_digest(customer.contact_ids),
        session=customer.session,
    )
    assert first.digest == export_digest(terms, first.summary)


def _forgeries(exports: Exporting, request: AccessRequested, other: AccessRequested) -> dict[str, tuple[str, str]]:
    """Return grants that are none for this export, each with what the dead letter names."""
    claims, sign = exports.claims, exports.signer.sign
    long_ago = clock() - timedelta(hours=1)
    return {
        "another key of the same name": (Signer(exports.signer.key_id).sign(claims(request)), "grant.signature"),
        "no algorithm": (sign(claims(request), alg="none").rpartition(".")[0] + ".", "grant.alg"),
        "another typ": (sign(claims(request), typ="JWT"), "grant.typ"),
        "another audience": (sign(claims(request, aud="others")), "grant.aud"),
        "another issuer": (sign(claims(request, iss="others")), "grant.iss"),
        "another action": (sign(claims(request, act="login")), "grant.act"),
        "another user": (sign(claims(request, sub=str(uuid4()))), "grant.sub"),
        "another account": (sign(claims(request, acct=str(uuid4()))), "grant.acct"),
        "of another export": (sign(claims(other)), "grant.jti"),
        "other parameters": (sign(claims(request, dig=other.digest)), "grant.dig"),
        "not in force yet": (sign(claims(request, clock() + timedelta(minutes=2))), "grant.iat"),
        "old and of another export": (sign(claims(other, long_ago)), "grant.jti"),
        "nothing": ("x", "grant.form"),
    }


async def test_every_forged_grant_is_a_dead_letter_and_writes_nothing(exports: Exporting) -> None:
    """The cause names what did not match and quotes nothing; the right grant still counts afterwards."""
    customer = await exports.a_customer()
    export_id, other = await exports.ask(customer), await exports.requested(await exports.ask(customer))
    request = await exports.requested(export_id)
    forgeries = _forgeries(exports, request, other)
    await exports.publish(*(exports.granted(request, grant=grant) for grant, _ in forgeries.values()))

    async def all_dead() -> bool:
        rows = await exports.pool.fetch(
            "SELECT cause FROM dead_letter WHERE position($1 IN value) > 0", str(export_id).encode()
        )
        causes = sorted(row["cause"].partition(":")[0] for row in rows)
        return causes == sorted(named for _, named in forgeries.values())

    await eventually(all_dead, within=20)
    assert (await exports.read(customer, export_id))["state"] == "waiting"
    await exports.publish(exports.granted(request))
    await exports.becomes(customer, export_id, "ready")


@pytest.mark.parametrize("field", ["account_id", "user_id", "digest"])
async def test_a_decision_of_another_export_under_this_id_is_a_conflict(exports: Exporting, field: str) -> None:
    """Denials too, whatever the verifier signed about another one."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    other: dict[str, Any] = {field: "A" * 43 if field == "digest" else uuid4()}
    await exports.publish(exports.denied(request, **other))
    assert (await exports.dead(export_id)).startswith(field)
    assert (await exports.read(customer, export_id))["state"] == "waiting"


async def test_an_unknown_key_is_waited_for(exports: Exporting) -> None:
    """And a grant of a key that is never published writes nothing."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    stranger = Signer("never-published").sign(exports.claims(request))
    await exports.publish(exports.granted(request, grant=stranger))

    async def kept() -> bool:
        rows = await exports.pool.fetch(
            "SELECT kind FROM dead_letter WHERE position($1 IN value) > 0", str(export_id).encode()
        )
        return [row["kind"] for row in rows] == ["key_unknown"]

    await eventually(kept, within=20)
    assert (await exports.read(customer, export_id))["state"] == "waiting"


async def test_a_grant_whose_time_is_over_ends_the_export(exports: Exporting) -> None:
    """It did authorise this: whoever waits is told to ask again, at once."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    late = exports.signer.sign(exports.claims(request, clock() - timedelta(minutes=6)))
    await exports.publish(exports.granted(request, grant=late))
    ended = await exports.becomes(customer, export_id, "expired")
    assert ended["reason"] == "grant.late"


async def test_a_grant_is_spent_once(exports: Exporting) -> None:
    """Delivered again, or after the export was forgotten and its id asked for again, it grants nothing."""
    customer = await exports.a_customer()
    export_id = uuid4()
    await exports.ask(customer, export_id=str(export_id))
    granted = exports.granted(await exports.requested(export_id))
    await exports.publish(granted, granted)
    first = await exports.becomes(customer, export_id, "ready")
    await exports.publish(granted)
    await asyncio.sleep(0.5)
    assert await exports.read(customer, export_id) == first
    await exports.pool.execute("DELETE FROM export WHERE export_id = $1", export_id)
    again = await exports.call("POST", "/v1/exports", json=exports.body(customer, export_id=str(export_id)))
    assert again.status == 409


async def test_decisions_of_other_actions_and_of_other_exporters_are_passed_over(exports: Exporting) -> None:
    """They are no dead letters here."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    foreign = request.model_copy(update={"request_id": uuid4()})
    login = request.model_copy(update={"request_id": uuid4(), "action": "login"})
    await exports.publish(exports.granted(foreign), exports.denied(login), exports.granted(request))
    await exports.becomes(customer, export_id, "ready")
    for skipped in (foreign, login):
        found = await exports.pool.fetchval(
            "SELECT count(*) FROM dead_letter WHERE position($1 IN value) > 0", str(skipped.request_id).encode()
        )
        assert found == 0


async def test_asking_twice_with_one_id_is_asking_once(exports: Exporting) -> None:
    """Also in parallel; another body under the same id is a conflict."""
    customer = await exports.a_customer()
    export_id = str(uuid4())
    body = exports.body(customer, export_id=export_id)
    answers = await asyncio.gather(*(exports.call("POST", "/v1/exports", json=body) for _ in range(8)))
    assert {(answer.status, answer.body["export_id"]) for answer in answers} == {(202, export_id)}
    await exports.requested((await exports.call("POST", "/v1/exports", json=body)).body["export_id"])
    records = await read_topic(exports.servers.kafka, "access.requests.v1")
    assert sum(export_id.encode() in (record.value or b"") for record in records) == 1
    stranger = await exports.a_customer()
    for other in (
        exports.body(customer, export_id=export_id, format="jsonl"),
        exports.body(customer, export_id=export_id, user_id=str(uuid4())),
        exports.body(stranger, export_id=export_id),
    ):
        answer = await exports.call("POST", "/v1/exports", json=other)
        assert (answer.status, answer.body["type"]) == (409, "urn:countersign:problem:export_id_taken")


async def test_different_users_racing_for_one_id_leave_one_export(exports: Exporting) -> None:
    """The others are told, and nothing of theirs stays."""
    customer = await exports.a_customer()
    export_id = str(uuid4())
    bodies = [exports.body(customer, export_id=export_id, user_id=str(uuid4())) for _ in range(6)]
    answers = await asyncio.gather(*(exports.call("POST", "/v1/exports", json=body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409, 409, 409]
