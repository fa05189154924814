"""The secrets files that hold a ring: read, and changed one after the other, each as a whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from countersign.operations import secret_files
from countersign.operations.keys.rings import Entry, Holdings
from countersign.runtime.keys import WAITS, KeySettings
from countersign.runtime.messages.findings import findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from countersign.operations.keys.rings import Ring


class KeyFilesError(Exception):
    """The files cannot be worked on; the text says which, why, and quotes no value."""


class KeyFiles:
    """`<service>.json` of each service that holds the ring, in one folder. Every method raises KeyFilesError."""

    def __init__(self, folder: Path, ring: Ring) -> None:
        self.folder = folder
        self.ring = ring

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other commands from changing keys in this folder meanwhile."""
        try:
            descriptor = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise KeyFilesError(f"{self.folder}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise KeyFilesError(f"{self.folder}: another `countersign keys` is at work; wait until it ended") from None
        finally:
            os.close(descriptor)

    def holdings(self) -> Holdings:
        """Return what each file holds of the ring. Raises KeysDifferError too."""
        return Holdings(
            self.ring,
            {service: {entry.key_id: entry for entry in self._entries(service)} for service in self.ring.holders},
        )

    def draw(self) -> dict[str, Any]:
        """Return a new key, as a file holds it, that waits for being made active. It is in no file yet."""
        return {**secret_files.new_key(self.ring.setting, WAITS)}

    def found(self, key_id: str) -> dict[str, Any]:
        """Return a key as the first file that has it holds it."""
        for service in self.ring.holders:
            for key in self._content(service)[self.ring.setting]:
                if key["key_id"] == key_id:
                    return dict(key)
        raise KeyFilesError(f"{self.folder}: no file holds {key_id}")

    def install(self, key: Mapping[str, Any], services: Sequence[str]) -> None:
        """Put a key into these services' files."""
        for service in services:
            self._change(service, lambda keys: [*keys, dict(key)])

    def activate(self, key_id: str, services: Sequence[str], begins: datetime) -> None:
        """Set when a key becomes active."""
        for service in services:
            self._change(service, lambda keys: [_with(key, key_id, "active_from", begins) for key in keys])

    def retire(self, key_id: str, services: Sequence[str], at: datetime) -> None:
        """Set since when a key is not used any more; it stays for what it signed."""
        for service in services:
            self._change(service, lambda keys: [_with(key, key_id, "retired_at", at) for key in keys])

    def remove(self, key_id: str, services: Sequence[str]) -> None:
        """Take a key out."""
        for service in services:
            self._change(service, lambda keys: [key for key in keys if key["key_id"] != key_id])

    def _path(self, service: str) -> Path:
        return (self.folder / f"{service}.json").resolve()

    def _content(self, service: str) -> dict[str, Any]:
        path = self._path(service)
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise KeyFilesError(
                f"{path} is not there: the files of {' and '.join(self.ring.holders)} are all needed, as they hold "
                f"{self.ring.name}"
            ) from None
        except OSError as error:
            raise KeyFilesError(f"{path}: {error.strerror}") from None
        except ValueError:
            raise KeyFilesError(f"{path}: expected JSON") from None
        if not isinstance(content, dict) or not isinstance(content.get(self.ring.setting), list):
            raise KeyFilesError(f"{path}: expected a list {self.ring.setting}")
        return content

    def _entries(self, service: str) -> Iterator[Entry]:
        for entry in self._content(service)[self.ring.setting]:
            try:
                key = KeySettings.model_validate(entry)
            except ValidationError as error:
                told = "; ".join(findings(error))
                raise KeyFilesError(f"{self._path(service)}: {self.ring.setting}: {told}") from None
            yield Entry(
                key_id=key.key_id,
                active_from=key.active_from,
                retired_at=key.retired_at,
                digest=hashlib.sha256(key.secret.get_secret_value()).digest(),
            )

    def _change(self, service: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        content = self._content(service)
        content[self.ring.setting] = change(content[self.ring.setting])
        path = self._path(service)
        try:
            secret_files.replace(path, secret_files.written(content))
        except OSError as error:
            raise KeyFilesError(
                f"{path} cannot be written: {error.strerror}. Run the command again once it can: it goes on from here"
            ) from None


def _with(key: dict[str, Any], key_id: str, field: str, time: datetime) -> dict[str, Any]:
    return {**key, field: time.isoformat()} if key["key_id"] == key_id else key
