"""A whole set of secrets for a new installation."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from countersign import cli
from countersign.operations.secret_files import RINGS, read
from countersign.runtime.settings import SECRETS_FILE, ServiceSettings
from services.enrolment.settings import EnrolmentSettings
from services.exports.settings import ExportsSettings
from services.gateway.settings import GatewaySettings
from services.notifier.settings import NotifierSettings
from services.risk_evaluator.wiring import RiskEvaluatorSettings
from services.verifier.settings import VerifierSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS: dict[str, type[ServiceSettings]] = {
    "enrolment": EnrolmentSettings,
    "exports": ExportsSettings,
    "gateway": GatewaySettings,
    "notifier": NotifierSettings,
    "risk_evaluator": RiskEvaluatorSettings,
    "verifier": VerifierSettings,
}
# What an installation says besides its secrets.
PLAIN = {
    "KAFKA__BOOTSTRAP_SERVERS": "kafka.example.com:9093",
    "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA__SASL_USERNAME": "somebody",
    "POLICY_FILE": "deploy/policy/default.yaml",
    "JWKS_URL": "https://verifier.example.com/.well-known/jwks.json",
    "TEXT__HOST": "app.example.com",
    "PUBLIC_URL": "https://app.example.com",
    "CONSOLE_URL": "https://console.example.com",
    "SERVICES__VERIFIER_URL": "https://verifier.example.com",
    "SERVICES__ENROLMENT_URL": "https://enrolment.example.com",
    "SERVICES__EXPORTS_URL": "https://exports.example.com",
}


def secrets_in(content: Any) -> Iterator[str]:
    """Yield every text of a secrets file that somebody could use: all but names, ids and times."""
    if isinstance(content, dict):
        for name, held in content.items():
            if name not in {"key_id", "active_from", "name", "routes"}:
                yield from secrets_in(held)
    elif isinstance(content, list):
        for held in content:
            yield from secrets_in(held)
    else:
        yield str(content)


def made(folder: Path, *options: str) -> int:
    return cli.main(["secrets", "new", str(folder), "--postgres", "db.example.com/countersign", *options])


@pytest.mark.parametrize("service", sorted(SETTINGS))
def test_each_service_starts_with_its_file(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside settings that are no secrets, and with its own role at the database."""
    assert made(tmp_path / "new") == 0
    for name in [name for name in os.environ if name.startswith("COUNTERSIGN_")]:
        monkeypatch.delenv(name)
    for name, value in PLAIN.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
    monkeypatch.setenv(SECRETS_FILE, str(tmp_path / "new" / f"{service}.json"))
    settings = SETTINGS[service]()
    dsn = settings.postgres.dsn.get_secret_value()
    assert dsn.startswith(f"postgresql://{service}:")
    assert dsn.endswith("@db.example.com:5432/countersign?sslmode=verify-full")
    assert settings.kafka.sasl_password is not None


def test_what_services_share_is_the_same(tmp_path: Path) -> None:
    """Rings and the gateway's bearer; no two secrets of different kinds are equal."""
    assert made(tmp_path / "new") == 0
    drawn = read(tmp_path / "new")
    assert drawn is not None
    for ring in {ring for rings in RINGS.values() for ring in rings}:
        held = [drawn[service][ring] for service, rings in RINGS.items() if ring in rings]
        assert all(keys == held[0] for keys in held)
    assert {service for service, content in drawn.items() if "grant_keys" in content} == {"verifier"}
    token = drawn["gateway"]["services"]["token"]  # type: ignore[index] # read as JSON
    for service in ("verifier", "enrolment", "exports"):
        assert [caller["token"] for caller in drawn[service]["http"]["callers"]] == [token]  # type: ignore[index] # JSON
    two = [set(secrets_in(drawn[service])) for service in ("verifier", "gateway")]
    assert two[0] & two[1] == {token}


def test_only_its_owner_can_read_it_and_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folder 0700, files 0600; not one of the drawn texts in the output or in a file's name."""
    folder = tmp_path / "new"
    assert made(folder) == 0
    assert made(tmp_path / "other", "--json") == 0
    told = "".join(capsys.readouterr())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    found = {text for file in tmp_path.rglob("*.json") for text in secrets_in(json.loads(file.read_bytes()))}
    for file in tmp_path.rglob("operator.env"):
        found |= {line.partition("=")[2] for line in file.read_text().splitlines()} - {"operator"}
    assert len(found) == 44
    for text in found:
        assert text not in told
        assert not any(text in file.name for file in tmp_path.rglob("*"))
    passwords = {text.split(":")[2].split("@")[0] for text in found if text.startswith("postgresql://")}
    assert len(passwords) == 14
    assert not any(password in (folder / "roles.sql").read_text() for password in passwords)


def test_nothing_that_is_there_is_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a file in the folder, not a folder of secrets, not a file of that name; an empty folder is taken."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (mine, tmp_path / "file"):
        assert made(taken) == 2
        assert "nothing in it is overwritten" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir(mode=0o755)
    assert made(tmp_path / "empty") == 0
    before = {file: file.read_bytes() for file in (tmp_path / "empty").iterdir()}
    assert made(tmp_path / "empty") == 2
    assert before == {file: file.read_bytes() for file in (tmp_path / "empty").iterdir()}
    assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "file", "empty"}


@pytest.mark.parametrize("postgres", ["", "db:99999", "https://db", "db:x", "a b"])
def test_an_address_that_is_none_is_told(postgres: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, and nothing is made."""
    assert cli.main(["secrets", "new", str(tmp_path / "new"), "--postgres", postgres]) == 2
    assert "--postgres: expected HOST" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
