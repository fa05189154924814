"""The commands that ask nobody: the record that would be published, and whether a message fits."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from countersign import cli
from countersign.cli.surroundings import Surroundings
from countersign.contract.topic_files import schemas_folder

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = schemas_folder() / "examples"
LOGIN = EXAMPLES / "countersign.access.requested.v1" / "login.json"
AUTHORISES = LOGIN.with_suffix(".authorises.json")
DEMO = {
    "DEMO_ACCOUNT_ID": "019ca8e4-1c00-7a01-8000-00000000000a",
    "DEMO_OWNER_ID": "019ca8e4-1c00-7a02-8000-00000000000b",
}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stack and no addresses."""
    monkeypatch.setenv("DATA", str(tmp_path / "none"))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "VERIFIER_URL", "SERVICE_TOKEN", *DEMO):
        monkeypatch.delenv(name, raising=False)


def value_of(printed: str) -> dict[str, object]:
    """Return the value of the record that was printed."""
    text = printed.partition("value   ")[2].partition("\ndigest")[0]
    found: dict[str, object] = json.loads(text)
    return found


def test_a_dry_run_prints_what_check_message_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Digest included: what is printed as authorised is what it is made of."""
    assert cli.main(["publish-example", "access.requested", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "value.json").write_text(json.dumps(value_of(printed)), "utf-8")
    (tmp_path / "authorises.json").write_text(printed.rpartition("digest  of ")[2], "utf-8")
    files = [str(tmp_path / "value.json"), "--authorises", str(tmp_path / "authorises.json")]
    assert cli.main(["check-message", *files, "--type", "access.requested"]) == 0


def test_two_examples_are_two_requests(capsys: pytest.CaptureFixture[str]) -> None:
    """Published twice, each is answered."""
    ids = set()
    for _ in range(2):
        cli.main(["publish-example", "access.requested", "--dry-run"])
        ids.add(value_of(capsys.readouterr().out)["request_id"])
    assert len(ids) == 2


def test_fields_are_set_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Text, JSON, inside of objects; the digest follows."""
    sets = ["action=export", "summary.what=Spring customers", "summary.rows=412", "client.ip=null"]
    arguments = [argument for each in sets for argument in ("--set", each)]
    assert cli.main(["publish-example", "access.requested", "--dry-run", *arguments]) == 0
    value = value_of(capsys.readouterr().out)
    assert value["action"] == "export"
    assert value["summary"] == {"what": "Spring customers", "rows": 412, "format": None}
    assert value["client"] == {"ip": None, "locale": "en-AU"}


def test_the_demonstrations_owner_is_taken_where_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From stack.env, so that the request is of a member."""
    (tmp_path / "stack.env").write_text("".join(f"{name}={value}\n" for name, value in DEMO.items()), "utf-8")
    monkeypatch.setenv("DATA", str(tmp_path))
    cli.main(["publish-example", "access.requested", "--dry-run"])
    value = value_of(capsys.readouterr().out)
    assert [value["account_id"], value["user_id"]] == list(DEMO.values())


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("action=fly", "action: expected one of 'login'"),
        ("number_id=here", "number_id: expected a UUID; came a string of 4 characters"),
        ("action", "--set: expected FIELD=VALUE"),
        ("action.deep=1", "--set action.deep: action has no fields"),
        ("request_id=1.5", "no digest of this: canonical JSON here has strings and integers only"),
    ],
)
def test_an_example_that_does_not_fit_is_not_published(
    capsys: pytest.CaptureFixture[str], assignment: str, told: str
) -> None:
    """And is told in the words that a dead letter would have."""
    assert cli.main(["publish-example", "access.requested", "--set", assignment]) == 2
    assert told in capsys.readouterr().err


def test_an_unfit_example_can_be_had_anyway(capsys: pytest.CaptureFixture[str]) -> None:
    """To see what becomes of it."""
    arguments = ["publish-example", "access.requested", "--set", "action=fly", "--anyway", "--dry-run"]
    assert cli.main(arguments) == 0
    assert value_of(capsys.readouterr().out)["action"] == "fly"


@pytest.mark.parametrize("event", ["account.member_set", "account.member_removed"])
def test_what_else_the_platform_writes_can_be_published(capsys: pytest.CaptureFixture[str], event: str) -> None:
    """Keyed by the user."""
    assert cli.main(["publish-example", event, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "topic   account.members.v1" in printed
    assert f"key     {value_of(printed)['user_id']}" in printed


def test_every_example_fits_by_its_headers(capsys: pytest.CaptureFixture[str]) -> None:
    """The type is then known from ce_type."""
    headers = sorted(EXAMPLES.glob("*/*.headers.json"))
    assert headers
    for path in headers:
        value = path.with_name(path.name.replace(".headers.json", ".json"))
        assert cli.main(["check-message", str(value), "--headers", str(path)]) == 0, capsys.readouterr().out


def test_a_message_that_does_not_fit_is_told_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Field, expectation, shape; no value."""
    unfit = json.loads(LOGIN.read_bytes()) | {"digest": "not a digest"}
    (tmp_path / "unfit.json").write_text(json.dumps(unfit), "utf-8")
    assert cli.main(["check-message", str(tmp_path / "unfit.json"), "--type", "access.requested"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(
        "refused: digest: expected a string that matches ^[A-Za-z0-9_-]{43}$; came a string of 12"
    )
    assert "not a digest" not in printed


def test_what_is_repaired_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The message is read all the same: exit code 0, a line per field, and no value."""
    odd = json.loads(LOGIN.read_bytes()) | {"client": {"ip": "203.0.113.79:51000", "locale": "en_AU"}, "summary": None}
    (tmp_path / "odd.json").write_text(json.dumps(odd), "utf-8")
    headers = json.loads(LOGIN.with_suffix(".headers.json").read_bytes())
    del headers["content-type"]
    (tmp_path / "headers.json").write_text(json.dumps(headers), "utf-8")
    assert cli.main(["check-message", str(tmp_path / "odd.json"), "--headers", str(tmp_path / "headers.json")]) == 0
    fits, *told = capsys.readouterr().out.splitlines()
    repaired = [line for line in told if not line.startswith("  mend: ")]
    assert fits.startswith("fits countersign.access.requested.v1 on access.requests.v1, key ")
    assert repaired == [
        "repaired: content-type: it was missing, the value was read as application/json",
        "repaired: client.ip: the port was dropped",
        "repaired: client.locale: it was no language tag, the nearest was taken",
        "repaired: summary: it was no object, an empty one was taken",
    ]


def test_structured_mode_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Not as a missing header."""
    (tmp_path / "headers.json").write_text('{"content-type": "application/cloudevents+json"}', "utf-8")
    arguments = [str(LOGIN), "--headers", str(tmp_path / "headers.json"), "--type", "access.requested"]
    assert cli.main(["check-message", *arguments]) == 1
    assert "came structured mode" in capsys.readouterr().out


def test_a_wrong_digest_is_told_with_the_right_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And with the canonical JSON, to compare byte by byte."""
    other = json.loads(AUTHORISES.read_bytes()) | {"user_id": "somebody else"}
    (tmp_path / "other.json").write_text(json.dumps(other), "utf-8")
    arguments = [str(LOGIN), "--type", "access.requested", "--authorises", str(tmp_path / "other.json")]
    assert cli.main(["check-message", *arguments]) == 1
    printed = capsys.readouterr().out
    assert '"user_id":"somebody else"}' in printed
    assert "\nrefused: digest: is not that of what is authorised\n  mend: compute it from the canonical JSON" in printed


def test_a_message_is_read_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `-`."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(LOGIN.read_bytes())))
    assert cli.main(["check-message", "-", "--type", "access.requested"]) == 0
    assert capsys.readouterr().out.startswith("fits countersign.access.requested.v1 on access.requests.v1, key ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check-message", "/does/not/exist.json", "--type", "access.requested"], "No such file"),
        (["check-message", str(LOGIN)], "which event? Give --type"),
        (["check-message", str(LOGIN), "--headers", __file__], "expected JSON"),
        (["publish-example", "access.requested"], "give --bootstrap, set KAFKA_BOOTSTRAP_SERVERS, or start"),
        (["why"], "give --dsn, set POSTGRES_DSN, or start the local stack with `make run`"),
        (["why", "--offset", "3"], "which topic?"),
        (["why", "--dsn", "postgresql://nobody@127.0.0.1:1/none"], "PostgreSQL does not answer"),
    ],
)
def test_what_keeps_a_command_from_its_work_is_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """On standard error, with what helps, and never a traceback."""
    assert cli.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_the_environment_comes_before_the_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever sets an address means it."""
    (tmp_path / "stack.env").write_text("SNS_URL=http://stack\nVERIFIER_URL=http://stack\n", "utf-8")
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("VERIFIER_URL", "http://environment")
    around = Surroundings.found()
    assert around.get("SNS_URL") == "http://stack"
    assert around.get("VERIFIER_URL") == "http://environment"


STACK = """KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1
KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT
KAFKA_SASL_MECHANISM=SCRAM-SHA-512
KAFKA_SASL_USERNAME=test
KAFKA_SASL_PASSWORD=test-password
OPERATOR_KAFKA_SASL_USERNAME=operator
OPERATOR_KAFKA_SASL_PASSWORD=operator-password
"""
EXPLICIT = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:2",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "ann",
    "KAFKA_SASL_PASSWORD": "ann-password",
}


@pytest.mark.parametrize(
    ("environment", "as_producer", "name"),
    [({}, False, "operator"), ({}, True, "test"), (EXPLICIT, False, "ann"), (EXPLICIT, True, "ann")],
    ids=["operator", "producer", "named", "named producer"],
)
def test_the_operator_logs_in_unless_somebody_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], as_producer: bool, name: str
) -> None:
    """And an example is published as the platform would."""
    (tmp_path / "stack.env").write_text(STACK, "utf-8")
    monkeypatch.setenv("DATA", str(tmp_path))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    kafka = Surroundings.found().kafka(None, as_producer=as_producer)
    assert kafka.sasl_username == name
    assert kafka.sasl_password is not None
    assert kafka.sasl_password.get_secret_value() == f"{name}-password"


def test_every_command_has_help_with_something_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    """The examples name the command itself."""
    groups = ("keys list", "keys rotate", "keys revoke", "secrets new")
    for name in ("publish-example", "check-message", "why", "lag", "tail", "trace", *groups):
        assert cli.main([*name.split(), "--help"]) == 0
        assert f"\n    countersign {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["lag", "--topic"], ["lag", "--seconds-max", "many"], ["lag", "--topic", "none.such"],
     ["keys", "rotate"], ["keys", "rotate", "pins"], ["keys", "revoke", "codes"], ["keys", "list", "--ring", "pins"],
     ["keys", "rotate", "codes", "--active-in", "soon"], ["keys", "rotate", "codes", "--execute"],
     ["keys", "rotate", "codes"], ["keys", "rotate", "codes", "--secrets", "/does/not/exist"], ["secrets", "new"],
     ["why", "--offset", "1"], ["check-message"], ["publish-example", "access.flown"]],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_argument_is_told_in_words(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, a sentence, and no stack trace."""
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert told
    assert "Traceback" not in told
