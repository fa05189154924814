"""A verifier and a notifier as processes with secrets files of their own, and whoever changes keys in these."""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from countersign import cli
from countersign.operations.secret_files import RINGS, write
from deploy.local.checkout import CHECKOUT
from deploy.local.postgres import OPERATOR
from deploy.local.programs import POLICY
from tests.support.events import an_access_assessed, outgoing, signed
from tests.support.fleet import Fleet
from tests.support.kafka import eventually, publish
from tests.support.notifier import Neighbourhood

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import pytest

    from tests.support.notifier import Person
    from tests.support.servers import Servers
    from tests.support.sns_stand_in import SnsStandIn

HOLDERS = ("verifier", "notifier")
WITHIN = 30.0
# Ends this program as kill -9 does, right after it has put the n-th secrets file in its place.
_DIES = """
import os, signal, sys
from countersign import cli
from countersign.operations import secret_files
left, replace = int(sys.argv.pop(1)), secret_files.replace
def replace_and_die(path, content):
    global left
    replaced = replace(path, content)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return replaced
secret_files.replace = replace_and_die
sys.exit(cli.main())
"""


@dataclass
class KeyDesk:
    """The command line, at the files that the processes read."""

    fleet: Fleet
    sns: SnsStandIn
    near: Neighbourhood
    capsys: pytest.CaptureFixture[str]
    folder: Path
    http: aiohttp.ClientSession = field(repr=False)
    services: tuple[str, ...] = HOLDERS
    said: list[str] = field(default_factory=list)
    drawn: set[str] = field(default_factory=set, repr=False)
    people: dict[UUID, Person] = field(default_factory=dict)  # who asked, by request

    async def countersign(self, *arguments: str) -> int:
        """Run `countersign keys` beside the test's own event loop; what it says is in `said`."""
        self._remember()
        self.capsys.readouterr()
        code = await asyncio.to_thread(cli.main, ["keys", *arguments, "--secrets", str(self.folder)])
        self.said.append("".join(self.capsys.readouterr()))
        self._remember()
        return code

    async def countersign_dies(self, after: int, *arguments: str) -> int:
        """Run it in a process of its own that is killed after it wrote so many files; return how it ended."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _DIES, str(after), "keys", *arguments, "--secrets", str(self.folder)),
            cwd=CHECKOUT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        self.said.append(told.decode())
        self._remember()
        return process.returncode or 0

    def instances(self) -> list[str]:
        """Return the options that name the processes."""
        return [part for name in self.services for part in ("--instance", f"{name}={self.fleet.health_url(name)}")]

    def ring(self, service: str, setting: str = "code_keys") -> dict[str, dict[str, Any]]:
        """Return a ring as a service's file holds it, by key id."""
        held = json.loads((self.folder / f"{service}.json").read_bytes())[setting]
        assert len({key["key_id"] for key in held}) == len(held)
        return {key["key_id"]: key for key in held}

    def files(self) -> dict[str, bytes]:
        """Return every file of the folder that is no log."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.suffix != ".log"}

    async def challenged(self, person: Person, **over: Any) -> UUID:
        """Have a log-in of somebody challenged, or what `over` says of it; return its request's id."""
        key = self.near.servers.secrets["verifier"]["assessment_keys"][0]
        ids = {"account_id": person.account_id, "user_id": person.user_id, "request_id": uuid4()}
        event = signed(an_access_assessed(**(ids | over), key_id=key["key_id"]), secret_of(key))
        await publish(self.near.servers.kafka, outgoing(event))
        await self.is_challenged(event.request_id)
        return event.request_id

    async def is_challenged(self, request_id: UUID) -> None:
        """Wait until the verifier says that a request is challenged."""
        url = f"{self.fleet.url('verifier')}/v1/requests/{request_id}"

        async def is_challenged() -> bool:
            async with self.http.get(url, params={"wait": "5"}) as reply:
                found = await reply.json()
                return bool(found.get("state") == "challenged")

        await eventually(is_challenged, within=WITHIN)

    async def code_of(self, person: Person) -> str:
        """Wait for the text to somebody's phone, and read its code."""

        async def came() -> bool:
            return bool(self.sns.to(person.number))

        await eventually(came, within=WITHIN)
        return self.sns.to(person.number)[-1].code

    async def answered(self, challenge_id: UUID, code: str) -> str:
        """Enter a code; return the verdict."""
        return str((await self.judged(challenge_id, code))["verdict"])

    async def judged(self, challenge_id: UUID, code: str) -> dict[str, Any]:
        """Enter a code; return the answer, with its grant where it was the right one."""
        url = f"{self.fleet.url('verifier')}/v1/challenges/{challenge_id}/answers"
        async with self.http.post(url, json={"code": code, "answer_id": str(uuid4())}) as reply:
            told: dict[str, Any] = await reply.json()
            return told

    async def active(self, service: str, setting: str, key_id: str) -> None:
        """Wait until a key's time has come, by the database."""
        begins = datetime.fromisoformat(self.ring(service, setting)[key_id]["active_from"])

        async def has_begun() -> bool:
            return bool(await self.near.db.fetchval("SELECT clock_timestamp() > $1", begins))

        await eventually(has_begun, within=WITHIN)

    def redate(self, setting: str, key_id: str, **times: datetime) -> None:
        """Change times of a key in every file that holds it, as if that had been done earlier."""
        for service in (name for name, held in RINGS.items() if setting in held):
            path = self.folder / f"{service}.json"
            content = json.loads(path.read_bytes())
            for key in content[setting]:
                if key["key_id"] == key_id:
                    key |= {name: time.isoformat() for name, time in times.items()}
            path.write_text(json.dumps(content))

    async def operations(self) -> list[asyncpg.Record]:
        """Return what is kept of who changed keys, the oldest first."""
        rows: list[asyncpg.Record] = await self.near.db.fetch(
            "SELECT command, who, reason, planned::text, outcome::text FROM (SELECT * FROM verifier.operation "
            "UNION ALL SELECT * FROM enrolment.operation) AS kept ORDER BY began_at"
        )
        return rows

    def leaks(self, *more: str) -> list[str]:
        """Return which secrets of any key that was ever in a file are in what was said, or in the name of a file."""
        names = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]
        told = "\n".join([*self.said, *names, *more])
        return [secret for secret in self.drawn if secret in told]

    def _remember(self) -> None:
        for service, rings in RINGS.items():
            for setting in rings:
                with suppress(ValueError):  # a test spoils a file on purpose
                    self.drawn |= set(_forms(self.ring(service, setting).values()))


def _forms(keys: Any) -> Iterator[str]:
    """Yield each secret as it is written, and as bytes are often printed."""
    for key in keys:
        yield key["secret"]
        yield secret_of(key).hex()


def secret_of(key: dict[str, Any]) -> bytes:
    return b64decode(key["secret"])


@asynccontextmanager
async def a_key_desk(
    servers: Servers,
    sns: SnsStandIn,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    services: tuple[str, ...] = HOLDERS,
) -> AsyncIterator[KeyDesk]:
    """Start the processes, with a secrets file of every service; end them."""
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    for service in RINGS:
        write(folder, service, servers.secrets[service])
    fleet = Fleet(servers, folder, sns.url, policy=POLICY)
    async with (
        asyncpg.create_pool(servers.postgres_dsn, min_size=1, max_size=2) as db,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {fleet.bearer}"}) as http,
    ):
        await db.execute("DELETE FROM verifier.operation; DELETE FROM enrolment.operation")
        await db.execute("UPDATE verifier.challenge SET closed_at = now() WHERE closed_at IS NULL")
        try:
            await fleet.start_all(services)
            yield KeyDesk(fleet, sns, Neighbourhood(servers, db, sns.url), capsys, folder, http, services)
        finally:
            await fleet.end_all()
