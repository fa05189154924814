"""Secrets files that can be read here: closed to others, ages of their keys, and whether those who share keys agree.

No secret, nor anything made of one, is in a finding.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hmac import compare_digest
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from countersign.operations.letters import SERVICES
from countersign.operations.secret_files import RINGS
from countersign.runtime.checkup import Finding, fine, warning, wrong
from countersign.runtime.keys import KeySettings
from countersign.runtime.messages.findings import findings
from countersign.runtime.program.key_ages import key_findings
from countersign.runtime.settings import open_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

_SUBJECT = "secrets files"
_SHARED = sorted(ring for ring, holders in Counter(chain(*RINGS.values())).items() if holders > 1)
_RING = "_keys"


@dataclass(frozen=True, slots=True)
class SecretsFile:
    """The rings of keys of one file."""

    path: Path
    rings: Mapping[str, Sequence[KeySettings]] = field(repr=False)


def files_in(folder: Path) -> list[Path]:
    """Return the secrets files of services that are in a folder."""
    return [path for service in SERVICES if (path := folder / f"{service}.json").exists()]


def secrets_findings(paths: Iterable[Path], now: datetime) -> list[Finding]:
    """Return what is to be said of secrets files, by this machine's clock. Never raises for what is in them."""
    found: list[Finding] = []
    read: list[SecretsFile] = []
    for path in paths:
        file = _read(path)
        if isinstance(file, Finding):
            found.append(file)
            continue
        read.append(file)
        found += _of_file(file, now)
    found += _disagreements(read)
    nothing = "there are none that can be read here: ages of keys were not looked at"
    return found or [fine(_SUBJECT, "no keys in them" if read else nothing)]


def _of_file(file: SecretsFile, now: datetime) -> list[Finding]:
    found = []
    if (mode := open_mode(file.path)) is not None:
        told = f"is open to its group or to others (mode {mode:04o})"
        todo = f"chmod 600 {file.path}, and draw new secrets if somebody else may have read them"
        found.append(wrong(str(file.path), told, todo))
    for ring, keys in file.rings.items():
        found += key_findings(str(file.path), ring, keys, now)
    return found


def _read(path: Path) -> SecretsFile | Finding:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        told = f"cannot be read here: {error.strerror or type(error).__name__}"
        return warning(str(path), told, "run this as the user of that service, or `check` of the service itself")
    except ValueError:
        return wrong(str(path), "is not JSON", "write it anew: a service does not start with it")
    if not isinstance(content, dict):
        return wrong(str(path), "is not a JSON object", "write it anew: a service does not start with it")
    rings: dict[str, list[KeySettings]] = {}
    try:
        for name, keys in content.items():
            if name.endswith(_RING):
                rings[name] = _ring(name, keys)
    except ValidationError as error:
        return wrong(str(path), "; ".join(findings(error)), "correct that key: a service does not start with it")
    except TypeError as error:
        return wrong(str(path), str(error), "correct it: a service does not start with it")
    return SecretsFile(path, rings)


def _ring(name: str, keys: Any) -> list[KeySettings]:
    if not isinstance(keys, list):
        raise TypeError(f"{name} is not an array of keys")
    return [KeySettings.model_validate(key) for key in keys]


def _disagreements(files: Sequence[SecretsFile]) -> list[Finding]:
    """Return where two services that share a ring hold different keys."""
    found = []
    for ring in _SHARED:
        holders = [file for file in files if ring in file.rings]
        for first, second in pairwise(holders):
            found += _compared(ring, first, second)
    return found


def _compared(ring: str, first: SecretsFile, second: SecretsFile) -> list[Finding]:
    one, other = ({key.key_id: key for key in file.rings[ring]} for file in (first, second))
    subject = f"{ring} of {first.path.stem} and {second.path.stem}"
    if lacking := sorted(one.keys() ^ other.keys()):
        told = f"only one of them has {', '.join(lacking)}"
        return [wrong(subject, told, "put each key into both files before it becomes active, and take it out of both")]
    unlike = sorted(
        key_id
        for key_id, key in one.items()
        if not compare_digest(key.secret.get_secret_value(), other[key_id].secret.get_secret_value())
    )
    if unlike:
        told = f"the same id has another secret in each: {', '.join(unlike)}"
        return [wrong(subject, told, "install one and the same key in both, under a new id")]
    return []
