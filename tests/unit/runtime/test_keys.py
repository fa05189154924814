"""Rings of keys: which is used when, and how a new one arrives."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest
from pydantic import ValidationError

from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.keys import KeyRing, KeySettings
from countersign.runtime.settings import SECRETS_FILE
from countersign.runtime.watching.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _settings(key_id: str, active_from: datetime, retired_at: datetime | None = None) -> dict[str, object]:
    return {
        "key_id": key_id,
        "secret": base64.b64encode(key_id.encode().ljust(32)).decode(),
        "active_from": active_from.isoformat(),
        "retired_at": retired_at.isoformat() if retired_at else None,
    }


def _ring(*keys: dict[str, object]) -> KeyRing:
    return KeyRing("code_keys", [KeySettings.model_validate(key) for key in keys])


def test_the_youngest_active_key_is_used() -> None:
    """A key installed for later is known but not used yet; a retired one is known but used no more."""
    ring = _ring(
        _settings("old", NOON - timedelta(days=2)),
        _settings("new", NOON - timedelta(days=1)),
        _settings("next", NOON + timedelta(minutes=1)),
        _settings("gone", NOON - timedelta(hours=1), NOON),
    )
    assert ring.current(NOON).key_id == "new"
    assert ring.current(NOON + timedelta(minutes=1)).key_id == "next"
    assert ring.get("gone").secret == b"gone".ljust(32)
    with pytest.raises(KeyUnknownError):
        ring.get("unheard")


def test_a_secret_is_not_shown_and_must_be_32_bytes() -> None:
    """Neither the settings nor the key print it."""
    ring = _ring(_settings("k", NOON))
    assert "k   " not in repr(ring.get("k"))
    with pytest.raises(ValidationError):
        KeySettings.model_validate({"key_id": "k", "secret": "YWJj", "active_from": NOON.isoformat()})


def test_a_ring_is_read_again_when_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a key arrives without a restart; a file half written changes nothing."""
    file = tmp_path / "secrets.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"code_keys": [_settings("a", NOON)]}))
    monkeypatch.setenv(SECRETS_FILE, str(file))
    ring = _ring(_settings("a", NOON))
    file.write_text(json.dumps({"code_keys": [_settings("a", NOON), _settings("b", NOON)]}))
    os.utime(file, ns=(1, 1))
    ring.refresh()
    assert ring.get("b").key_id == "b"
    file.write_text('{"code_keys": [')
    os.utime(file, ns=(2, 2))
    ring.refresh()
    assert ring.get("b").key_id == "b"


def test_a_file_changed_between_settings_and_ring_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that waits for its database at the start does not go on with what it read before."""
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"code_keys": [_settings("a", NOON), _settings("b", NOON)]}))
    monkeypatch.setenv(SECRETS_FILE, str(file))
    ring = _ring(_settings("a", NOON))
    ring.refresh()
    assert ring.get("b").key_id == "b"


def test_a_scrape_shows_the_keys_of_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no record comes nothing else reads it; ids and times are shown, and no secret."""
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"code_keys": [_settings("a", NOON)]}))
    monkeypatch.setenv(SECRETS_FILE, str(file))
    metrics = Metrics()
    metrics.keys.show(_ring(_settings("a", NOON)))
    new = tmp_path / "new.json"
    later = NOON + timedelta(minutes=1)
    new.write_text(json.dumps({"code_keys": [_settings("a", NOON), _settings("b", later)]}))
    new.rename(file)
    shown = generate_latest(metrics.registry).decode()
    for key_id, active_from in (("a", NOON), ("b", later)):
        (line,) = (line for line in shown.splitlines() if f'key_id="{key_id}"' in line)
        assert line.startswith("countersign_key_active_from_seconds{")
        assert 'ring="code_keys"' in line
        assert float(line.split()[-1]) == active_from.timestamp()
    assert base64.b64encode(b"a".ljust(32)).decode() not in shown
