"""The secrets of a new installation: a file for each service, and what its servers have to be told about them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from countersign.operations import secret_files
from countersign.operations.rights import OPERATOR
from countersign.runtime.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

ROLES_FILE, KAFKA_FILE, OPERATOR_FILE = "roles.sql", "kafka_users.json", "operator.env"
_ITERATIONS = 4096  # PostgreSQL's own default (scram_iterations); the passwords are random


@dataclass(frozen=True, slots=True)
class Database:
    """Where PostgreSQL will be."""

    host: str
    port: int
    name: str

    def dsn(self, role: str, password: str) -> str:
        """Return a role's address: TLS with a checked certificate, unless the server is this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        address = f"postgresql://{role}:{quote(password, safe='')}@{host}:{self.port}/{quote(self.name, safe='')}"
        return address if is_loopback(self.host) else f"{address}?sslmode=verify-full"


def draw_files(database: Database, *, kafka_logins: bool, now: datetime) -> dict[str, bytes]:
    """Draw everything, and return the content of each file by its name.

    With `kafka_logins` a password for each principal of Kafka is drawn too, else the brokers know their clients by
    certificates or tokens.
    """
    names = (*secret_files.RINGS, OPERATOR)
    passwords = {name: secrets.token_urlsafe(24) for name in names}
    logins = {name: secrets.token_urlsafe(24) for name in names} if kafka_logins else {}
    dsns = {name: database.dsn(name, passwords[name]) for name in names}
    drawn = secret_files.with_dsns(secret_files.draw(now), dsns)
    if logins:
        drawn = secret_files.with_logins(drawn, logins)
    files = {f"{service}.json": secret_files.written(held) for service, held in drawn.items()}
    files[ROLES_FILE] = _roles(passwords)
    files[OPERATOR_FILE] = _operator(dsns[OPERATOR], logins)
    if logins:
        files[KAFKA_FILE] = (json.dumps(logins, indent=2) + "\n").encode()
    return files


def lay_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into a folder that does not exist yet, or is empty: all of them or none.

    Raises FileExistsError if anything is there, OSError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.new")
    new.mkdir(mode=0o700)
    try:
        for name, content in files.items():
            secret_files.create(new / name, content)
        new.rename(folder)  # onto a folder that somebody filled meanwhile it fails
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _roles(passwords: Mapping[str, str]) -> bytes:
    """Return the statements that set the passwords. The server's log gets no password to see."""
    lines = [f"ALTER ROLE {role} PASSWORD '{scram(password)}';\n" for role, password in passwords.items()]
    return "".join(lines).encode()


def scram(password: str) -> str:
    """Return what PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5803); it opens nothing by itself."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def _operator(dsn: str, logins: Mapping[str, str]) -> bytes:
    """Return what the command line needs in its environment."""
    lines = [f"OPERATOR_DSN={dsn}"]
    if logins:
        lines += [f"KAFKA_SASL_USERNAME={OPERATOR}", f"KAFKA_SASL_PASSWORD={logins[OPERATOR]}"]
    return ("\n".join(lines) + "\n").encode()
