"""A secrets file that others can read is refused at the start and by `check`, in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from countersign.runtime.program.service import EXIT_SETTINGS, main
from countersign.runtime.settings import SECRETS_FILE, SecretsReadableError, refuse_open_secrets
from deploy.local.layout import closed_folder
from services.risk_evaluator.wiring import SERVICE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_file_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: int, command: str
) -> None:
    """With the file, its mode, and what to do."""
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"postgres": {"dsn": "postgresql://risk_evaluator@127.0.0.1:1/countersign"}}))
    file.chmod(mode)
    monkeypatch.setenv(SECRETS_FILE, str(file))
    assert main(SERVICE, [command]) == EXIT_SETTINGS
    said = capsys.readouterr().err
    assert f"chmod 600 {file}" in said
    assert f"{mode:04o}" in said


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """Readable, writable or not."""
    file = tmp_path / "secrets.json"
    file.touch()
    file.chmod(mode)
    monkeypatch.setenv(SECRETS_FILE, str(file))
    refuse_open_secrets()
    file.chmod(mode | 0o040)
    with pytest.raises(SecretsReadableError):
        refuse_open_secrets()


def test_a_folder_of_the_local_stack_is_closed_even_if_it_was_open(tmp_path: Path) -> None:
    """An earlier version made Kafka's folder readable by all."""
    folder = tmp_path / "kafka"
    folder.mkdir(mode=0o755)
    assert closed_folder(folder).stat().st_mode & 0o777 == 0o700
    assert closed_folder(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
