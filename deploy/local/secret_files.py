"""Secrets of a stack: drawn once, one file a service, each with what that service needs and no more."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, TypeAlias

from deploy.local.postgres import ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Secrets: TypeAlias = "dict[str, dict[str, object]]"

# Which service holds which ring. The verifier alone signs; nobody but enrolment and notifier opens a number.
_RINGS = {
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
_ACTIVE_FROM = "2026-01-01T00:00:00Z"  # long before any stack: a first key needs no time to spread


def draw(before: Secrets | None = None) -> Secrets:
    """Draw the rings, peppers and bearers of a whole stack; what was drawn before stays as it is."""
    old = before or {}
    rings: dict[str, object] = {ring: [_key(ring)] for held in _RINGS.values() for ring in held}
    for service, held in _RINGS.items():
        rings |= {ring: old[service][ring] for ring in held if ring in old.get(service, {})}
    drawn: Secrets = {service: {ring: rings[ring] for ring in held} for service, held in _RINGS.items()}
    drawn["verifier"]["pepper"] = _random()
    drawn["enrolment"]["fingerprint_key"] = _random()
    drawn["notifier"]["sns"] = {"access_key_id": "local", "secret_access_key": secrets.token_urlsafe(16)}
    drawn["gateway"]["browser_key"] = _random()
    drawn["gateway"]["services"] = {"token": secrets.token_urlsafe(32)}
    merged = {service: {**held, **old.get(service, {})} for service, held in drawn.items()}
    for held_secrets in merged.values():
        held_secrets.pop("kafka", None)  # whoever starts a Kafka that asks for it puts it in again
    for service, routes in ROUTES.items():
        caller = {"name": "gateway", "token": bearer_of(merged), "routes": list(routes)}
        merged[service]["http"] = {"callers": [caller]}
    return merged


def bearer_of(drawn: Secrets) -> str:
    """Return the gateway's bearer."""
    services = drawn["gateway"]["services"]
    assert isinstance(services, dict)
    return str(services["token"])


def with_dsns(drawn: Secrets, dsns: Mapping[str, str]) -> Secrets:
    """Return the secrets with each service's own address of PostgreSQL, which carries its password."""
    return {service: {**held, "postgres": {"dsn": dsns[service]}} for service, held in drawn.items()}


def write(folder: Path, name: str, content: object) -> Path:
    """Write `<name>.json` for its owner alone, by rename, so that nobody reads half a file."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, new = folder / f"{name}.json", folder / f".{name}.new"
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.rename(path)
    return path


def read(folder: Path) -> Secrets | None:
    """Return the secrets drawn for this folder, or None before the first time."""
    files = {service: folder / f"{service}.json" for service in ROLES}
    if not all(file.exists() for file in files.values()):
        return None
    return {service: json.loads(file.read_text()) for service, file in files.items()}


def _key(ring: str) -> dict[str, str]:
    return {"key_id": f"{ring.removesuffix('_keys')}-1", "secret": _random(), "active_from": _ACTIVE_FROM}


def _random() -> str:
    return b64encode(secrets.token_bytes(32)).decode()
