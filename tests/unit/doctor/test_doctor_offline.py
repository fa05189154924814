"""`countersign doctor` and a service's `check` where nothing answers: each says so, soon, and the rest is looked at."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from countersign import cli
from countersign.runtime.program.service_check import checked
from deploy.local import secret_files
from services.enrolment.wiring import SERVICE as ENROLMENT
from services.exports.wiring import SERVICE as EXPORTS
from services.gateway.wiring import SERVICE as GATEWAY
from services.notifier.wiring import SERVICE as NOTIFIER
from services.risk_evaluator.wiring import SERVICE as RISK_EVALUATOR
from services.verifier.wiring import SERVICE as VERIFIER

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:9"
PASSWORD = "not-for-anybody's-eyes"
DSN = f"postgresql://operator:{PASSWORD}@{NOBODY}/none"
POLICY = "deploy/policy/local.yaml"
JWKS = f"http://{NOBODY}/jwks.json"
UPSTREAM = {f"{name}_url": f"http://{NOBODY}" for name in ("verifier", "enrolment", "exports")} | {"token": "t" * 32}
OWN: dict[str, dict[str, Any]] = {
    "enrolment": {"policy_file": POLICY, "jwks_url": JWKS},
    "exports": {"jwks_url": JWKS},
    "gateway": {
        "jwks_url": JWKS,
        "public_url": "http://localhost",
        "console_url": "http://localhost",
        "services": UPSTREAM,
    },
    "notifier": {"policy_file": POLICY, "text": {"host": "localhost"}},
    "risk_evaluator": {"policy_file": POLICY, "jwks_url": JWKS},
    "verifier": {"policy_file": POLICY},
}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stack and no addresses."""
    monkeypatch.setenv("DATA", str(tmp_path / "none"))
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "OPERATOR_DSN", "POSTGRES_DSN", "SECRETS_DIR", "COUNTERSIGN_SECRETS_FILE"):
        monkeypatch.delenv(name, raising=False)


def looked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code and the findings by subject."""
    code = cli.main(["doctor", "--json", *arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert PASSWORD not in printed.out + printed.err
    return code, {row["subject"]: row for row in map(json.loads, printed.out.splitlines())}


def test_without_any_address_it_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what to give."""
    assert cli.main(["doctor"]) == 2
    assert "give --bootstrap, set KAFKA_BOOTSTRAP_SERVERS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--service", "courier"], "no such service: courier"),
        (["--dsn", DSN, "--secrets", "/does/not/exist"], "there is no such folder"),
        (["--fly"], "No such option"),
    ],
    ids=["service", "folder", "option"],
)
def test_a_wrong_argument_is_told_in_words(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert cli.main(["doctor", *arguments]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_servers_that_are_away_are_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Both, each with what was not looked at; the secrets file is looked at all the same, all within seconds."""
    drawn = secret_files.draw()
    secret_files.write(tmp_path, "notifier", drawn["notifier"])
    began = time.monotonic()
    code, found = looked(capsys, "--bootstrap", NOBODY, "--dsn", DSN, "--secrets", str(tmp_path))
    assert time.monotonic() - began < 15
    assert code == 1
    assert found["Kafka"]["level"] == "error"
    assert found["Kafka"]["sentence"] == f"Kafka at {NOBODY} does not answer: is it running?"
    assert found["PostgreSQL"]["level"] == "error"
    assert found["PostgreSQL"]["sentence"] == "PostgreSQL does not answer: ConnectionRefusedError"
    for subject in ("topics, rights, clocks of producers", "migrations, outbox, dead letters, brakes"):
        assert found[subject]["level"] == "warning"
        assert "were not looked at" in found[subject]["sentence"]
    assert found[str(tmp_path / "notifier.json")]["level"] == "ok"
    assert found["services"]["level"] == "ok"


def test_one_address_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """The other is a warning."""
    code, found = looked(capsys, "--dsn", DSN)
    assert code == 1
    assert (found["Kafka"]["level"], found["Kafka"]["sentence"]) == ("warning", "not looked at: no address is known")


def test_a_log_in_that_does_not_fit_together_is_a_finding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And PostgreSQL is looked at all the same."""
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", PASSWORD)
    code, found = looked(capsys, "--bootstrap", NOBODY, "--dsn", DSN)
    assert code == 1
    assert found["Kafka"]["level"] == "error"
    assert "sasl_mechanism: needed with security_protocol SASL_SSL" in found["Kafka"]["sentence"]
    assert found["PostgreSQL"]["level"] == "error"


def test_a_secrets_file_of_an_unknown_service_is_asked_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whose settings these are cannot be guessed."""
    file = secret_files.write(tmp_path, "something", secret_files.draw()["notifier"])
    monkeypatch.setenv("COUNTERSIGN_SECRETS_FILE", str(file))
    _, found = looked(capsys, "--dsn", DSN)
    assert (found["services"]["level"], found["services"]["todo"]) == ("warning", "give --service")
    assert found[str(file)]["level"] == "ok"


def test_people_read_a_line_a_finding_and_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do behind an arrow, the worst last."""
    assert cli.main(["doctor", "--dsn", DSN]) == 1
    *lines, count = capsys.readouterr().out.splitlines()
    assert "error    PostgreSQL: PostgreSQL does not answer: ConnectionRefusedError -> see whether it runs" in lines[-1]
    assert count == "error: 1, warning: 2, ok: 2"


def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--help"]) == 0
    told = capsys.readouterr().out
    assert "\n    countersign doctor --json" in told
    assert "Exit codes: 0 all is well" in told


@pytest.mark.parametrize(
    ("service", "asked"),
    [
        (ENROLMENT, {"Kafka", "JWKS"}),
        (EXPORTS, {"Kafka", "JWKS"}),
        (GATEWAY, {"Kafka", "JWKS"}),
        (NOTIFIER, {"Kafka", "SNS"}),
        (RISK_EVALUATOR, {"Kafka", "JWKS"}),
        (VERIFIER, {"Kafka"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_a_services_check_names_all_that_is_away(service: Any, asked: set[str]) -> None:
    """Each in its sentence, side by side, and no password; keys are not judged without the database's time."""
    secrets = secret_files.with_dsns(secret_files.draw(), dict.fromkeys(secret_files.draw(), DSN))[service.name]
    sns = {"sns": {**secrets["sns"], "endpoint_url": f"http://{NOBODY}"}} if "sns" in secrets else {}  # type: ignore[dict-item]
    fields = {"kafka": {"bootstrap_servers": NOBODY}, **secrets, **OWN[service.name], **sns}
    if service is GATEWAY:
        fields["services"] = UPSTREAM
    out = io.StringIO()
    began = time.monotonic()
    assert await checked(service, service.settings(**fields), out, as_json=True) == 1
    assert time.monotonic() - began < 15
    rows = [json.loads(line)["finding"] for line in out.getvalue().splitlines()]
    assert {row["subject"] for row in rows if row["level"] == "error"} == {*asked, "PostgreSQL"}
    assert rows[0] == {"level": "ok", "subject": "settings", "sentence": "they are right", "todo": None}
    assert PASSWORD not in out.getvalue()
    assert all(row["todo"] for row in rows if row["level"] == "error")
