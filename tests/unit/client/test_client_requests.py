"""Building access requests: ids, digests, the record, and what happens without Kafka."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.client import (
    AccessRequests,
    BuiltRequest,
    Client,
    Expected,
    ExportTerms,
    KafkaAwayError,
    ProducerSettings,
    Summary,
    authorised_digest,
    contacts_digest,
    export_digest,
    login_authorised,
    login_digest,
    new_id,
)
from countersign.contract import AccessRequested, base64url, digest_of, reader
from countersign.runtime.messages.record import Record

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ACCOUNT, USER = uuid4(), uuid4()


def requests() -> AccessRequests:
    return AccessRequests("exports", clock=lambda: NOON)


def test_a_login_request_carries_the_digest_of_its_session() -> None:
    """Both ends build the digest with the same function, so that they cannot disagree."""
    request_id = uuid4()
    built = requests().build(
        "login",
        ACCOUNT,
        USER,
        Client(ip="203.0.113.7"),
        login_authorised(request_id, USER, "secret"),
        request_id=request_id,
    )
    assert built.request_id == request_id
    assert built.digest == built.event.digest == login_digest(request_id, USER, "secret")
    assert built.digest != login_digest(request_id, USER, "another browser")
    assert "secret" not in built.event.model_dump_json()


def test_the_digest_is_what_the_design_says() -> None:
    """Written out once by hand: base64url of the SHA-256 of canonical JSON, summary inside."""
    text = b'{"a":1,"summary":{"rows":500,"what":"Newsletter"},"user_id":"x"}'
    digest = authorised_digest({"user_id": "x", "a": 1}, Summary(what="Newsletter", rows=500))
    assert digest == base64url(hashlib.sha256(text).digest())
    with pytest.raises(ValueError, match="summary"):
        authorised_digest({"summary": {}}, Summary())


def some_terms(**over: Any) -> ExportTerms:
    terms: dict[str, Any] = {
        "export_id": UUID(int=1),
        "account_id": UUID(int=2),
        "user_id": UUID(int=3),
        "list_id": UUID(int=4),
        "format": "csv",
        "rows": 2,
        "contacts": contacts_digest([UUID(int=5), UUID(int=6)]),
        "session": b"s" * 32,
    }
    return ExportTerms(**{**terms, **over})


@pytest.mark.parametrize(
    "over",
    [
        {"export_id": UUID(int=9)},
        {"account_id": UUID(int=9)},
        {"user_id": UUID(int=9)},
        {"list_id": UUID(int=9)},
        {"format": "jsonl"},
        {"rows": 3},
        {"contacts": contacts_digest([UUID(int=6), UUID(int=5)])},
        {"contacts": contacts_digest([UUID(int=5)])},
        {"session": b"t" * 32},
    ],
)
def test_changing_anything_of_an_export_makes_it_another(over: dict[str, Any]) -> None:
    """What was approved is what is written, to the row and its place."""
    summary = Summary(what="Newsletter", rows=2, format="CSV")
    assert export_digest(some_terms(**over), summary) != export_digest(some_terms(), summary)
    assert export_digest(some_terms(), Summary(what="Newsletters")) != export_digest(some_terms(), summary)


def test_the_record_is_the_contracts() -> None:
    """Key is the account; ce_time the time given, else the clock's."""
    built = requests().build("export", ACCOUNT, USER, Client(), some_terms().authorised())
    later = NOON + timedelta(seconds=1)
    for now, told in [(None, b"2026-05-04T12:00:00Z"), (later, b"2026-05-04T12:00:01Z")]:
        record = requests().record(built, now)
        headers = dict(record.headers)
        assert (record.topic, record.key) == ("access.requests.v1", str(ACCOUNT).encode())
        assert headers["ce_time"] == told
        assert headers["ce_type"] == b"countersign.access.requested.v1"
        assert headers["ce_source"] == b"/countersign/exports"
        assert json.loads(record.value)["digest"] == built.digest
    assert requests().record(built, now).event_id == requests().record(built).event_id


def test_ids_may_be_text() -> None:
    """As sessions and forms hold them, in whatever case: the request, its digest and its grant are the same."""
    request_id = new_id()
    for ids in ((request_id, USER, ACCOUNT), tuple(str(each).upper() for each in (request_id, USER, ACCOUNT))):
        asked, user, account = ids
        authorised = login_authorised(asked, user, "secret")
        built = requests().build("login", account, user, Client(), authorised, request_id=asked, number_id=user)
        assert built.event.user_id == built.event.number_id == USER
        assert built.digest == login_digest(request_id, USER, "secret")
        assert built.expected == Expected(
            action="login", request_id=request_id, user_id=USER, account_id=ACCOUNT, digest=built.digest, req=built.req
        )
    with pytest.raises(ValueError, match=r"^account_id: expected a UUID$"):
        requests().build("login", "nobody", USER, Client(), {})


def test_an_odd_hint_is_repaired_before_it_is_sent() -> None:
    """A log-in does not fail over the caller's own hints; digest and request carry the same summary."""
    summary = Summary(what="two\nlines", rows=2)
    client = Client(ip="203.0.113.79:51000", locale="en-US,en;q=0.9")
    built = requests().build("export", ACCOUNT, USER, client, {"a": 1}, summary)
    assert built.event.client == Client(ip="203.0.113.79", locale="en-US")
    assert built.digest == digest_of({"a": 1, "summary": {"what": "two lines", "rows": 2}})


@pytest.mark.parametrize(
    ("over", "match"),
    [
        ({"action": "fly"}, "action"),
        ({"authorised": {"rows": 1.5}}, "integers"),
    ],
)
def test_what_the_contract_does_not_take_is_refused_here(over: dict[str, Any], match: str) -> None:
    """At the producer, in words, and not as somebody else's dead letter."""
    given_: dict[str, Any] = {"action": "login", "client": Client(), "authorised": {}, "summary": None, **over}
    with pytest.raises(ValueError, match=match):
        requests().build(given_["action"], ACCOUNT, USER, given_["client"], given_["authorised"], given_["summary"])


@given(st.datetimes(datetime(2000, 1, 1), datetime(2500, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis asks for naive bounds
def test_drawn_ids_are_of_version_7_and_sort_by_time(now: datetime) -> None:
    """RFC 9562: 48 bits of milliseconds first."""
    drawn = new_id(now)
    assert (drawn.version, drawn.variant) == (7, "specified in RFC 4122")
    assert drawn.int >> 80 == int(now.timestamp() * 1000)
    assert drawn < new_id(now + timedelta(milliseconds=2))
    assert drawn != new_id(now)


@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,10}\Z").filter(lambda name: name != "summary"), st.text(max_size=20)))
def test_the_order_of_fields_does_not_matter(authorised: dict[str, str]) -> None:
    """Canonical JSON sorts them."""
    turned = dict(reversed(authorised.items()))
    assert authorised_digest(authorised, Summary()) == authorised_digest(turned, Summary())
    assert authorised_digest(authorised, Summary()) == digest_of({**authorised, "summary": {}})


async def test_without_kafka_submitting_fails_in_words() -> None:
    """Nothing is swallowed, and the address that did not answer is named."""
    built = requests().build("login", ACCOUNT, USER, Client(), {})
    settings = ProducerSettings(bootstrap_servers="127.0.0.1:9", submit_seconds=3)
    async with AccessRequests("gateway", settings) as away:
        with pytest.raises(KafkaAwayError, match=r"Kafka at 127\.0\.0\.1:9 did not take the access request within 3 s"):
            await away.submit(built)
        with pytest.raises(KafkaAwayError, match=r"Kafka at 127\.0\.0\.1:9 does not answer"):
            await away.reach()
    with pytest.raises(RuntimeError, match="without producer settings"):
        await requests().submit(built)


def a_login(request_id: UUID) -> BuiltRequest:
    return requests().build("login", ACCOUNT, USER, Client(), {}, request_id=request_id)


def test_a_request_without_a_trace_begins_one_named_after_it() -> None:
    """The reader takes it for a W3C trace context, and publishing the request again does not change a byte."""
    request_id = new_id(NOON)
    out = requests().record(a_login(request_id))
    incoming = reader(AccessRequested)(Record(out.topic, 0, 0, out.key, out.value, out.headers, NOON))
    assert incoming is not None
    assert incoming.traceparent is not None
    version, trace_id, parent_id, flags = incoming.traceparent.split("-")
    assert (version, trace_id, flags) == ("00", request_id.hex, "01")
    assert int(parent_id, 16) > 0
    assert requests().record(a_login(request_id)) == out


def test_the_trace_of_the_caller_is_kept() -> None:
    """The request is then a part of what the caller was doing."""
    given = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    assert dict(requests().record(a_login(uuid4()), traceparent=given).headers)["traceparent"] == given.encode()


def test_an_id_that_no_trace_may_have_begins_none() -> None:
    """W3C Trace Context, 3.2.2.3 and 3.2.2.4: ids of all zeros are invalid."""
    assert "traceparent" not in dict(requests().record(a_login(UUID(int=0))).headers)
    assert "traceparent" not in dict(requests().record(a_login(UUID(int=1 << 127))).headers)
