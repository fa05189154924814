"""Every command where PostgreSQL answers and refuses the password, and where nobody knows what is asked for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from countersign import cli
from countersign.runtime.program.failures import EXIT_SETTINGS, EXIT_UNAVAILABLE
from countersign.runtime.program.service import REFUSED_PAUSE_SECONDS
from deploy.local.checkout import CHECKOUT
from deploy.local.postgres import OPERATOR
from tests.support.every_command import CALLS, SERVICE_CALLS, UNKNOWN, WHY, every_service_command, laid

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.every_command import Ground
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

TOLD = "PostgreSQL does not let us in: password authentication failed"
# What nobody knows: the exit code says whether that is a finding, or keeps the command from its work.
NOBODY_KNOWS: list[tuple[tuple[str, ...], int, str]] = [
    (("trace", "--request", UNKNOWN), 1, "No service knows it."),
    (("trace", "--challenge", UNKNOWN), 1, "No service knows it."),
    (("trace", "--user", UNKNOWN, "--since", "5"), 1, "this user did in the last 5 minutes: give --since MINUTES"),
    (("trace", "--account", UNKNOWN), 1, "this account did in the last 60 minutes"),
    (("why", "--request-id", UNKNOWN), 1, " fits."),
    (("dlq", "ls", "--topic", "none.such"), 1, "No dead letter fits."),
    (("dlq", "groups", "--cause", "none such"), 1, "No dead letter fits."),
    (("dlq", "show", "none.such", "0", "0"), 1, "No service refused that record."),
    (("dlq", "redrive", "exports", "--topic", "none.such", *WHY, "--execute"), 1, ""),
    (("dlq", "discard", "exports", "--topic", "none.such", *WHY, "--execute"), 1, ""),
    (("dlq", "unpark", "exports", "--topic", "none.such", *WHY, "--execute"), 1, ""),
    (("outbox", "ls", "--topic", "none.such"), 1, "No row is parked."),
    (("outbox", "retry", "exports", "--topic", "none.such", *WHY, "--execute"), 1, ""),
    (("outbox", "discard", "exports", "--topic", "none.such", *WHY, "--execute"), 1, ""),
    (("dlq", "release", "exports", "none.such", *WHY, "--execute"), 1, "No brake of exports holds a partition"),
    (("texts", "resume", "--account", UNKNOWN, *WHY, "--execute"), 1, ""),
    (("texts", "resume", "--country", "UK"), 2, "such as SE, GB or LV"),
    (("replay", "status", UNKNOWN), 1, "No replay fits."),
    (("replay", "resume", UNKNOWN, *WHY), 2, "there is no replay 019cadf4"),
    (("replay", "pause", UNKNOWN, *WHY), 2, "there is no replay 019cadf4"),
    (("replay", "abort", UNKNOWN, *WHY), 2, "there is no replay 019cadf4"),
]


@pytest.fixture
def ground(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Lay an installation whose passwords are not those of the servers."""
    parts = urlsplit(servers.dsn_of(OPERATOR))
    if parts.hostname != "127.0.0.1" or parts.port is None:
        pytest.skip("PostgreSQL is not on this machine's loopback")
    found = laid(tmp_path, parts.port)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.asks == {"postgres"}])
async def test_a_wrong_password_is_told(name: str, ground: Ground, capfd: pytest.CaptureFixture[str]) -> None:
    """One sentence with what to compare; the password is not in it."""
    code = await asyncio.to_thread(cli.main, [*name.split(), *ground.filled(CALLS[name]), "--json"])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert TOLD in err
    assert err.count("\n") == 1
    assert "not-the-password" not in err


@pytest.mark.parametrize("name", [name for name, call in SERVICE_CALLS.items() if call.asks or name == "run"])
def test_a_wrong_password_is_told_by_the_programs_of_services(name: str, ground: Ground) -> None:
    """And by `run`, which pauses before it ends: a supervisor that starts it again at once fills no log."""
    service, began = every_service_command()[name], time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service.name}", name, *ground.filled(SERVICE_CALLS[name])],
        cwd=CHECKOUT,
        env={**os.environ, **ground.environment(service.name)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stdout + done.stderr
    if SERVICE_CALLS[name].finds:
        assert (done.returncode, TOLD in done.stdout) == (1, True)
        return
    assert TOLD in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == (EXIT_SETTINGS if name == "run" else EXIT_UNAVAILABLE)
    assert name != "run" or time.monotonic() - began > REFUSED_PAUSE_SECONDS - 1


@pytest.mark.parametrize(("arguments", "code", "told"), NOBODY_KNOWS, ids=lambda value: str(value)[:60])
async def test_what_nobody_knows(
    arguments: tuple[str, ...],
    code: int,
    told: str,
    servers: Servers,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In words, and with --json nothing but JSON on standard output."""
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    assert await asyncio.to_thread(cli.main, [*arguments]) == code
    out, err = capfd.readouterr()
    assert told in err or (arguments[0] == "why" and told in out)
    assert "Traceback" not in out + err
    assert await asyncio.to_thread(cli.main, [*arguments, "--json"]) == code
    for line in capfd.readouterr().out.splitlines():
        json.loads(line)


async def test_the_operators_own_address_is_enough(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`why` once asked for the superuser's, which nobody on call has."""
    monkeypatch.setenv("DATA", str(tmp_path / "none"))
    monkeypatch.delenv("POSTGRES_DSN", raising=False)
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    assert await asyncio.to_thread(cli.main, ["why", "--request-id", UNKNOWN]) == 1
