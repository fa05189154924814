"""Secrets of an installation: drawn once, one file a service, each with what that service needs and no more."""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

Secrets: TypeAlias = "dict[str, dict[str, object]]"

# Which service holds which ring. The verifier alone signs; nobody but enrolment and notifier opens a number.
RINGS: Mapping[str, tuple[str, ...]] = {
    "risk_evaluator": ("assessment_keys",),
    "verifier": ("assessment_keys", "code_keys", "grant_keys"),
    "notifier": ("code_keys", "number_keys"),
    "enrolment": ("number_keys",),
    "exports": (),
    "gateway": (),
}
# What the gateway's bearer may call, by the routes' names: all that its pages use, which is all there is so far.
ROUTES = {
    "verifier": ("requests.read", "challenges.answer", "challenges.resend", "challenges.cancel"),
    "enrolment": (
        "accounts.read",
        "places.forget",
        "numbers.change",
        "two_factor.switch",
        "members.manage",
        "manager.read",
    ),
    "exports": ("lists.read", "contacts.read", "exports.ask", "exports.read", "exports.file"),
}


def draw(active_from: datetime, before: Secrets | None = None) -> Secrets:
    """Draw the rings, peppers and bearers of a whole installation; what was drawn before stays as it is.

    Each service's secrets by its name; a ring is the same in each service that holds it. The first keys are used from
    `active_from` on.
    """
    old = before or {}
    rings: dict[str, object] = {ring: [new_key(ring, active_from)] for held in RINGS.values() for ring in held}
    for service, held in RINGS.items():
        rings |= {ring: old[service][ring] for ring in held if ring in old.get(service, {})}
    drawn: Secrets = {service: {ring: rings[ring] for ring in held} for service, held in RINGS.items()}
    drawn["verifier"]["pepper"] = _random()
    drawn["enrolment"]["fingerprint_key"] = _random()
    drawn["gateway"]["browser_key"] = _random()
    drawn["gateway"]["services"] = {"token": secrets.token_urlsafe(32)}
    merged = {service: {**held, **old.get(service, {})} for service, held in drawn.items()}
    for service, routes in ROUTES.items():
        caller = {"name": "gateway", "token": bearer_of(merged), "routes": list(routes)}
        merged[service]["http"] = {"callers": [caller]}
    return merged


def new_key(ring: str, active_from: datetime) -> dict[str, str]:
    """Draw a key of a ring. Its id is never used again, also if another key of that day was removed."""
    drawn_id = f"{ring.removesuffix('_keys')}-{secrets.token_hex(4)}"
    return {"key_id": drawn_id, "secret": _random(), "active_from": active_from.isoformat()}


def bearer_of(drawn: Secrets) -> str:
    """Return the gateway's bearer."""
    services = drawn["gateway"]["services"]
    assert isinstance(services, dict)
    return str(services["token"])


def with_dsns(drawn: Secrets, dsns: Mapping[str, str]) -> Secrets:
    """Return the secrets with each service's own address of PostgreSQL, which carries its password."""
    return {service: {**held, "postgres": {"dsn": dsns[service]}} for service, held in drawn.items()}


def with_logins(drawn: Secrets, passwords: Mapping[str, str]) -> Secrets:
    """Return the secrets with the password of each service's principal on Kafka."""
    return {name: {**held, "kafka": {"sasl_password": passwords[name]}} for name, held in drawn.items()}


def write(folder: Path, name: str, content: object) -> Path:
    """Write `<name>.json` for its owner alone, by rename, so that nobody reads half a file."""
    return replace(folder / f"{name}.json", written(content))


def written(content: object) -> bytes:
    """Return the bytes of a secrets file."""
    return (json.dumps(content, indent=2) + "\n").encode()


def replace(path: Path, content: bytes) -> Path:
    """Put a file in the place of another, whole or not at all, also if the machine stops; mode and owner stay.

    A new file, and a folder that has to be made, are for their owner alone. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    create(new, content)
    if path.exists():
        before = path.stat()
        new.chmod(before.st_mode & 0o7777)
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(new, before.st_uid, before.st_gid)
    new.rename(path)
    _keep(path.parent)
    return path


def create(path: Path, content: bytes) -> None:
    """Make a file for its owner alone and have it on the disk. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _keep(folder: Path) -> None:
    """Have the names of a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path) -> Secrets | None:
    """Return the secrets drawn for this folder, or None before the first time."""
    files = {service: folder / f"{service}.json" for service in RINGS}
    if not all(file.exists() for file in files.values()):
        return None
    return {service: json.loads(file.read_text()) for service, file in files.items()}


def _random() -> str:
    return b64encode(secrets.token_bytes(32)).decode()
