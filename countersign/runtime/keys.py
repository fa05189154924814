"""Rings of keys, each with the time from which it is used, so that a new one can be installed everywhere first."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, SecretBytes, ValidationError

from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.retention import KEYS_KEPT
from countersign.runtime.settings import Part, secrets_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WAITS = datetime(9999, 1, 1, tzinfo=UTC)  # of a key that is installed: one that is forgotten never begins by itself
RETIRED_KEPT = KEYS_KEPT  # longer than any topic could bring back what a retired key made


def _from_base64(value: object) -> object:
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    return value


Base64Secret = Annotated[SecretBytes, BeforeValidator(_from_base64)]


class KeySettings(Part):
    """One key as the secrets file holds it; `secret` is 32 bytes in base64."""

    key_id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    secret: Annotated[Base64Secret, Field(min_length=32, max_length=32)]
    active_from: AwareDatetime
    retired_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key in use. Its repr does not show the secret."""

    key_id: str
    secret: bytes = field(repr=False)
    active_from: datetime
    retired_at: datetime | None = None


class KeyRing:
    """The keys of one name. `refresh` reads the secrets file again when it was changed."""

    def __init__(self, name: str, keys: Sequence[KeySettings]) -> None:
        if not keys:
            raise ValueError(f"{name}: at least one key is needed")
        self.name = name
        self._keys = _keys_of(keys)
        # The first refresh reads the file in any case: it may have been changed since the settings were read from it.
        self._read: tuple[int, int] | None = None

    def current(self, now: datetime) -> Key:
        """Return the youngest key that is active and not retired. Raises KeyUnknownError if there is none."""
        active = [
            k for k in self._keys.values() if k.active_from <= now and (k.retired_at is None or now < k.retired_at)
        ]
        if not active:
            raise KeyUnknownError(self.name, "current")
        return max(active, key=lambda key: (key.active_from, key.key_id))

    def get(self, key_id: str) -> Key:
        """Return a key by its id, active or not. Raises KeyUnknownError."""
        try:
            return self._keys[key_id]
        except KeyError:
            raise KeyUnknownError(self.name, key_id) from None

    def all(self) -> tuple[Key, ...]:
        """Return every key, oldest first."""
        return tuple(sorted(self._keys.values(), key=lambda key: (key.active_from, key.key_id)))

    def refresh(self) -> None:
        """Read the ring again if the secrets file was changed; a file that cannot be read leaves the ring as it is."""
        path = secrets_file()
        if path is None:
            return
        try:
            version = _version(path)
            if version == self._read:
                return
            listed = json.loads(path.read_bytes()).get(self.name) or []
            self._keys = _keys_of([KeySettings.model_validate(entry) for entry in listed]) or self._keys
        except (OSError, ValueError, ValidationError):
            return  # it is being written: the next batch looks again
        self._read = version


def _keys_of(keys: Sequence[KeySettings]) -> dict[str, Key]:
    return {
        key.key_id: Key(key.key_id, key.secret.get_secret_value(), key.active_from.astimezone(UTC), key.retired_at)
        for key in keys
    }


def _version(path: Path) -> tuple[int, int]:
    """Return what differs after the file was changed or replaced, also twice within one tick of the clock."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
