"""Mistakes that producers make: each sentence names the field and the mend, and agrees with the reader."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from countersign import cli
from countersign.contract.examples import all_examples
from countersign.contract.topic_files import schemas_folder
from countersign.runtime.errors import OffContractError
from countersign.runtime.messages.record import Record
from services.risk_evaluator.fold import AssessRequests
from tests.support.events import clock

if TYPE_CHECKING:
    from pathlib import Path

    from countersign.runtime.messages.record import Incoming

FOLDER = schemas_folder() / "examples" / "countersign.access.requested.v1"
LOGIN: dict[str, Any] = json.loads((FOLDER / "login.json").read_bytes())
HEADERS: dict[str, str] = json.loads((FOLDER / "login.headers.json").read_bytes())
AUTHORISES = FOLDER / "login.authorises.json"
GOOD = json.dumps(LOGIN).encode()
ACCOUNT, USER = str(LOGIN["account_id"]), str(LOGIN["user_id"])
DIGEST = str(LOGIN["digest"])
REFUSED, REPAIRED, REMARK = "faults", "repairs", "remarks"


class Case(NamedTuple):
    """A message, what becomes of it, the field that is named, and words of the mend."""

    name: str
    becomes: str
    field: str
    mend: str
    value: bytes = GOOD
    headers: dict[str, str] = HEADERS
    key: str = ACCOUNT


def fields(**over: Any) -> bytes:
    """Return the login's value with other fields; `...` leaves one out."""
    return json.dumps({name: value for name, value in {**LOGIN, **over}.items() if value is not ...}).encode()


def headers(**over: Any) -> dict[str, str]:
    """Return the login's headers with others; `...` leaves one out, and `__` in a name is a hyphen."""
    changed = {**HEADERS, **{name.replace("__", "-"): value for name, value in over.items()}}
    return {name: value for name, value in changed.items() if value is not ...}


def renamed(old: str, new: str) -> bytes:
    """Return the login's value with one field under another name."""
    return json.dumps({new if name == old else name: value for name, value in LOGIN.items()}).encode()


ENVELOPE = {"specversion": "1.0", "id": "1", "source": "/p", "type": HEADERS["ce_type"], "data": LOGIN}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
CASES = (
    Case("structured", REFUSED, "content-type", "put the envelope into ce_", json.dumps(ENVELOPE).encode(), STRUCTURED),
    Case("envelope_in_value", REFUSED, "value", "structured mode?", json.dumps(ENVELOPE).encode()),
    Case("http_ce-type", REFUSED, "ce_type", "rename the header ce-type to ce_type",
         headers=headers(ce_type=..., ce__type=HEADERS["ce_type"])),
    Case("ce_Type", REFUSED, "ce_type", "rename the header ce_Type to ce_type",
         headers=headers(ce_type=..., ce_Type=HEADERS["ce_type"])),
    Case("ce_type_v2", REFUSED, "ce_type", "ce_type: countersign.access.requested.v1",
         headers=headers(ce_type="countersign.access.requested.v2")),
    Case("ce_type_other", REFUSED, "ce_type", "ce_type: countersign.access.requested.v1",
         headers=headers(ce_type="login.requested")),
    Case("specversion_missing", REFUSED, "ce_specversion", "ce_specversion: 1.0", headers=headers(ce_specversion=...)),
    Case("specversion_0.3", REFUSED, "ce_specversion", "ce_specversion: 1.0", headers=headers(ce_specversion="0.3")),
    Case("ce_time_missing", REFUSED, "ce_time", "send ce_time", headers=headers(ce_time=...)),
    Case("ce_time_no_zone", REFUSED, "ce_time", "add Z", headers=headers(ce_time="2026-03-02T09:00:00")),
    Case("ce_time_epoch", REFUSED, "ce_time", "RFC 3339", headers=headers(ce_time="1772442000000")),
    Case("ce_time_empty", REFUSED, "ce_time", "send ce_time", headers=headers(ce_time="")),
    Case("camel_case", REFUSED, "request_id", "rename requestId to request_id", renamed("request_id", "requestId")),
    Case("capitals", REFUSED, "user_id", "rename UserID to user_id", renamed("user_id", "UserID")),
    Case("field_missing", REFUSED, "account_id", "add account_id", fields(account_id=...)),
    Case("number_for_string", REFUSED, "request_id", "UUID of 36 characters in quotes", fields(request_id=42)),
    Case("null_for_id", REFUSED, "user_id", "null does not do", fields(user_id=None)),
    Case("id_not_a_uuid", REFUSED, "request_id", "send a UUID", fields(request_id="req-17")),
    Case("id_with_blanks", REFUSED, "user_id", "drop the blanks", fields(user_id=f" {USER} ")),
    Case("empty_number_id", REFUSED, "number_id", "send null or leave it out", fields(number_id="")),
    Case("enum_in_capitals", REFUSED, "action", "write action as login, in lower case", fields(action="LOGIN")),
    Case("enum_misspelt", REFUSED, "action", "write action as confirm_number", fields(action="confirm-numbers")),
    Case("enum_unknown", REFUSED, "action", "one of login", fields(action="zzz")),
    Case("digest_padded", REFUSED, "digest", "drop the =", fields(digest=f"{DIGEST}=")),
    Case("digest_hex", REFUSED, "digest", "it is hexadecimal", fields(digest="ab" * 32)),
    Case("digest_base64", REFUSED, "digest", "- for + and _ for /", fields(digest="+/" * 21 + "A=")),
    Case("digest_null", REFUSED, "digest", "null does not do", fields(digest=None)),
    Case("empty_value", REFUSED, "value", "the value is empty", b""),
    Case("utf_16", REFUSED, "value", "it is UTF-16", GOOD.decode().encode("utf-16")),
    Case("utf_16_no_bom", REFUSED, "value", "it is UTF-16", GOOD.decode().encode("utf-16-le")),
    Case("not_json", REFUSED, "value", "JSON object alone", b"request_id=1&user_id=2"),
    Case("python_repr", REFUSED, "value", "single quotes", str(LOGIN).encode()),
    Case("array", REFUSED, "value", "each event as a record", json.dumps([LOGIN]).encode()),
    Case("encoded_twice", REFUSED, "value", "encoded twice", json.dumps(GOOD.decode()).encode()),
    Case("null_value", REFUSED, "value", "it is null", b"null"),
    Case("schema_registry", REFUSED, "value", "schema registry's prefix", b"\x00\x00\x00\x00\x07" + GOOD),
    Case("gzip", REFUSED, "value", "it is gzip", b"\x1f\x8b\x08\x00" + GOOD),
    Case("too_long", REFUSED, "value", "send less", fields(summary={"what": "x" * 70_000})),
    Case("bom", REPAIRED, "value", "without a byte order mark", b"\xef\xbb\xbf" + GOOD),
    Case("bad_ip", REPAIRED, "client.ip", "the address alone", fields(client={"ip": "unknown"})),
    Case("ip_with_port", REPAIRED, "client.ip", "the address alone", fields(client={"ip": "203.0.113.7:443"})),
    Case("locale_posix", REPAIRED, "client.locale", "BCP 47", fields(client={"ip": None, "locale": "en_AU.UTF-8"})),
    Case("long_summary", REPAIRED, "summary.what", "at most 200 characters", fields(summary={"what": "x" * 300})),
    Case("rows_as_text", REPAIRED, "summary.rows", "without quotes", fields(summary={"rows": "412"})),
    Case("client_null", REPAIRED, "client", "an object with ip", fields(client=None)),
    Case("no_content_type", REPAIRED, "content-type", "application/json", headers=headers(content__type=...)),
    Case("no_source", REPAIRED, "ce_source", "who you are", headers=headers(ce_source=...)),
    Case("bad_trace", REPAIRED, "traceparent", "W3C", headers=headers(traceparent="1-2")),
    Case("unknown_field", REMARK, "sessionId", "leave it out", fields(sessionId="1")),
    Case("unknown_in_client", REMARK, "client.IP", "rename it to ip", fields(client={"IP": "203.0.113.7"})),
    Case("key_missing", REMARK, "key", "send account_id as text", key=""),
    Case("key_of_the_user", REMARK, "key", "it is user_id", key=USER),
    Case("key_quoted", REMARK, "key", "in another form", key=f'"{ACCOUNT}"'),
    Case("key_of_nothing", REMARK, "key", "it is not account_id", key="7"),
)  # fmt: skip


def read_by_the_evaluator(case: Case) -> Incoming[Any] | OffContractError | None:
    """Return what the risk-evaluator's own fold makes of the record."""
    pairs = tuple((name, value.encode()) for name, value in case.headers.items())
    record = Record("access.requests.v1", 0, 0, case.key.encode(), case.value, pairs, clock())
    try:
        return AssessRequests.parse(record)
    except OffContractError as refusal:
        return refusal


def check(case: Case, folder: Path, *options: str) -> int:
    """Run the command on a case."""
    (folder / "value").write_bytes(case.value)
    (folder / "headers.json").write_text(json.dumps(case.headers), "utf-8")
    files = [str(folder / "value"), "--headers", str(folder / "headers.json"), "--key", case.key]
    return cli.main(["check-message", *files, "--type", "access.requested", *options])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_named_with_its_mend(case: Case, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And only that mistake; the message is refused if and only if the risk-evaluator refuses it, for that cause."""
    code = check(case, tmp_path, "--json")
    told = json.loads(capsys.readouterr().out)
    found = [(kind, fault) for kind in (REFUSED, REPAIRED, REMARK) for fault in told[kind]]
    assert [(kind, fault["field"]) for kind, fault in found] == [(case.becomes, case.field)]
    assert case.mend in f"{found[0][1]['cause']}; {found[0][1]['mend']}"
    assert case.field in found[0][1]["cause"]
    really = read_by_the_evaluator(case)
    assert (code, told["fits"]) == ((1, False) if isinstance(really, OffContractError) else (0, True))
    if isinstance(really, OffContractError):
        assert really.cause in found[0][1]["cause"]
    else:
        assert really is not None
        assert [repair.field for repair in really.repairs] == [each["field"] for each in told[REPAIRED]]


def test_there_are_thirty_of_them_and_the_good_one_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing is found in the example itself, so that what is found in a case is the case's."""
    assert sum(case.becomes == REFUSED for case in CASES) >= 30
    assert check(Case("good", "", "", ""), tmp_path, "--json", "--strict") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fits"], told["key"]) == (True, ACCOUNT)
    assert [told[REFUSED], told[REPAIRED], told[REMARK]] == [[], [], []]


def test_all_faults_are_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of headers and of the value, more than the three that a dead letter names; a line each with its mend."""
    value = fields(request_id=1, account_id=..., user_id=None, action="Login", digest="x")
    bad = Case("all", REFUSED, "", "", value, headers(ce_specversion="2", ce_time="now"), USER)
    assert check(bad, tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    named = [line.removeprefix("refused: ").split(":")[0] for line in lines if line.startswith("refused: ")]
    headers_first = ["header ce_specversion", "header ce_time"]
    assert named == [*headers_first, "request_id", "account_id", "user_id", "action", "digest"]
    assert sum(line.startswith("  mend: ") for line in lines) == len(named)


def test_structured_mode_hides_no_other_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the envelope carries is checked as well."""
    carried = ENVELOPE | {"data": LOGIN | {"action": "fly"}}
    assert check(Case("both", REFUSED, "", "", json.dumps(carried).encode(), STRUCTURED), tmp_path, "--json") == 1
    assert [each["field"] for each in json.loads(capsys.readouterr().out)[REFUSED]] == ["content-type", "action"]


@pytest.mark.parametrize("case", [each for each in CASES if each.becomes != REFUSED], ids=lambda case: case.name)
def test_strict_takes_what_is_read_as_a_finding(case: Case, tmp_path: Path) -> None:
    """So that a producer's own tests can insist."""
    assert check(case, tmp_path) == 0
    assert check(case, tmp_path, "--strict") == 1


@pytest.mark.parametrize(
    ("made_of", "mistake"),
    [
        (json.dumps, "names in another order, and spaces"),
        (lambda it: json.dumps(it, separators=(",", ":")), "names in another order"),
        (lambda it: json.dumps(it, sort_keys=True), "spaces between"),
        (lambda it: json.dumps(it, sort_keys=True, separators=(",", ":")), "letters escaped"),
        (lambda _: "something else", "compare that byte by byte"),
    ],
    ids=["default", "unsorted", "spaces", "escaped", "other"],
)
def test_a_digest_of_json_that_is_not_canonical_is_recognised(
    made_of: Any, mistake: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The mistake is named; the right digest is printed."""
    authorises = {"user_id": "ü", "request_id": "r1"}
    (tmp_path / "authorises.json").write_text(json.dumps(authorises, indent=1), "utf-8")
    digest = urlsafe_b64encode(sha256(made_of(authorises).encode()).digest()).decode().rstrip("=")
    case = Case("digest", REFUSED, "digest", "", fields(digest=digest))
    assert check(case, tmp_path, "--json", "--authorises", str(tmp_path / "authorises.json")) == 1
    told = json.loads(capsys.readouterr().out)
    assert [fault["field"] for fault in told[REFUSED]] == ["digest"]
    assert mistake in told[REFUSED][0]["mend"]
    assert told["canonical"] == '{"request_id":"r1","user_id":"ü"}'


def test_no_mend_quotes_what_came(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Whoever pastes the output into a ticket gives away no address, no name and no id."""
    secret = "pYwVbXq7"
    over = dict.fromkeys(("request_id", "user_id", "action", "digest", "client", "summary", "number_id"), secret)
    for value in (fields(**over), fields(client={"ip": secret, "locale": secret + "-"}), secret.encode()):
        check(Case("secret", REFUSED, "", "", value, headers(ce_time=secret, ce_source="", ce_type=secret)), tmp_path)
    assert secret not in capsys.readouterr().out


def test_every_example_is_right(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of every event of the contract, with its key."""
    for example in all_examples():
        record = example.record()
        (tmp_path / "value").write_bytes(record.value)
        (tmp_path / "headers.json").write_text(json.dumps({n: v.decode() for n, v in record.headers}), "utf-8")
        files = [str(tmp_path / "value"), "--headers", str(tmp_path / "headers.json")]
        assert cli.main(["check-message", *files, "--key", record.key.decode(), "--strict"]) == 0
    assert capsys.readouterr().out.count("fits ") == len(all_examples())
