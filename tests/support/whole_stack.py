"""A running stack as tests of its pages see it: addresses, phones, and accounts made for one test."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from countersign.contract.topic_files import topic_files
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.database.postgres import open_pool
from deploy.local.programs import POLICY
from services.enrolment.seed import seed as seed_enrolment
from services.enrolment.settings import EnrolmentSettings
from services.exports.wiring import SERVICE as EXPORTS
from services.gateway.seed import seed as seed_gateway
from services.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from countersign.runtime.settings import ServiceSettings
    from tests.support.stack import RunningStack

# Kept free for fiction in North America: 555-0100 to 555-0199 of each area. Each household has three of its own, from a
# place drawn for the run, as a stack outlives a run of the tests.
_AREAS = (202, 205, 206, 207, 208, 209, 210, 212, 213, 214)
_NUMBERS = itertools.count(secrets.randbelow(1000))
DOCUMENTED_ACCOUNT = UUID("019ca8e4-1c00-7a01-8000-00000000000a")
DOCUMENTED_USERS = tuple(UUID(f"019ca8e4-1c00-7a02-8000-00000000000{nth}") for nth in "bcd")
_CODE = re.compile(r"^@\S+ #(\d+)$", re.MULTILINE)  # the origin-bound last line of a text


@dataclass(frozen=True)
class Person:
    """A member of an account that was made for one test."""

    user_id: UUID
    account_id: UUID
    role: str
    name: str
    email: str
    password: str = field(repr=False)
    number: str = field(repr=False)
    number_id: UUID


@dataclass(frozen=True)
class Household:
    """An account of one's own: an owner, two managed users, one list of contacts."""

    account_id: UUID
    owner: Person
    managed: tuple[Person, ...]
    list_id: UUID
    list_name: str
    contacts: tuple[str, ...]


@dataclass(frozen=True)
class WholeStack:
    """A running stack, as its stack.env describes it."""

    running: RunningStack

    @property
    def env(self) -> Mapping[str, str]:
        """What stack.env says now: processes that were started again have other ids."""
        return self.running.env

    def __getitem__(self, name: str) -> str:
        return self.env[name]

    @property
    def gateway(self) -> str:
        """The address of the log-in's site."""
        return self.env["GATEWAY_URL"]

    @property
    def console(self) -> str:
        """The address of the account managers' site."""
        return self.env["CONSOLE_URL"]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """Lend a superuser's connection."""
        connection = await asyncpg.connect(self.env["POSTGRES_DSN"])
        try:
            yield connection
        finally:
            await connection.close()

    async def texts(self, number: str, containing: str = "") -> list[str]:
        """Return the texts with codes that the local SNS has taken for a number, oldest first."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.env['SNS_URL']}/moto-api/data.json") as answer,
        ):
            seen = await answer.json(content_type=None)
        sent = seen.get("sns", {}).get("SMS", [])
        mine = [one["message"] for one in sent if one["phone_number"] == number and containing in one["message"]]
        return [message for message in mine if _CODE.search(message)]

    async def code(self, number: str, containing: str = "", nth: int = 1) -> str:
        """Wait for the nth text to a number that contains something, and return its code."""
        found: list[str] = []

        async def arrived() -> bool:
            found[:] = await self.texts(number, containing)
            return len(found) >= nth

        await until(arrived, "a text")
        return code_of(found[nth - 1])

    async def household(
        self, *, two_factor: bool = True, contacts: int = 30, for_show: bool = False, documented: bool = False
    ) -> Household:
        """Make an account through each service's own seed; `for_show`: with the names of people and of a list.

        `documented`: with ids as in the examples of the schemas, which a stack has room for once.
        """
        mark, account_id, list_id = secrets.token_hex(4), DOCUMENTED_ACCOUNT if documented else uuid4(), uuid4()
        roles = (("owner", "Olga"), ("managed", "Max"), ("managed", "Mia"))
        surname, list_name = ("Berg", "Newsletter") if for_show else (mark, f"List {mark}")
        people = [
            Person(
                user_id=DOCUMENTED_USERS[nth] if documented else uuid4(),
                account_id=account_id,
                role=role,
                name=f"{name} {surname}",
                email=f"{name.lower()}.{mark}@example.com",
                password=secrets.token_urlsafe(12),
                number=new_number(),
                number_id=uuid4(),
            )
            for nth, (role, name) in enumerate(roles)
        ]
        members = [
            {"contact_id": str(uuid4()), "name": f"Person {n:03}", "email": f"p{n:03}@example.net"}
            for n in range(contacts)
        ]
        content = {
            "account_id": str(account_id),
            "staff_account_id": str(uuid4()),
            "two_factor": two_factor,
            "people": [{name: _plain(value) for name, value in vars(person).items()} for person in people],
            "lists": [{"list_id": str(list_id), "name": list_name, "contacts": members}],
        }
        await self._sow(content)
        emails = tuple(one["email"] for one in members)
        return Household(account_id, people[0], tuple(people[1:]), list_id, list_name, emails)

    async def manager(self) -> Person:
        """Make an account manager of the staff account: one may act only so often an hour, so each test has its own."""
        mark = secrets.token_hex(4)
        person = Person(
            user_id=uuid4(),
            account_id=UUID(self._secrets("enrolment")["staff_account_id"]),
            role="account_manager",
            name=f"Dora {mark}",
            email=f"dora.{mark}@platform.example",
            password=secrets.token_urlsafe(12),
            number=new_number(),
            number_id=uuid4(),
        )
        content = {
            "account_id": str(person.account_id),
            "staff_account_id": str(person.account_id),
            "two_factor": False,
            "people": [{name: _plain(value) for name, value in vars(person).items()}],
            "lists": [],
        }
        await self._sow(content)
        return person

    async def _sow(self, content: Mapping[str, Any]) -> None:
        common = {"kafka": self.kafka.model_dump(), "jwks_url": self._jwks}  # who sows connects to PostgreSQL alone
        enrolment = EnrolmentSettings(**{**self._secrets("enrolment"), **common, "policy_file": POLICY})
        exports = EXPORTS.settings(**{**self._secrets("exports"), **common})
        assert EXPORTS.seed is not None
        async with _pool(enrolment, "enrolment") as pool:
            await seed_enrolment(pool, enrolment, content)
        async with _pool(exports, "exports") as pool:
            await EXPORTS.seed(pool, exports, content)
        await self.sow_gateway(content)

    async def sow_gateway(self, content: Mapping[str, Any]) -> None:
        """Let the gateway put people in."""
        held = self._secrets("gateway")
        held["services"] |= {f"{name}_url": "http://127.0.0.1:1" for name in ("verifier", "enrolment", "exports")}
        urls = {"public_url": self.gateway, "console_url": self.console, "jwks_url": self._jwks}
        settings = GatewaySettings(**{**held, **urls, "kafka": self.kafka.model_dump()})
        async with _pool(settings, "gateway") as pool:
            await seed_gateway(pool, settings, content)

    @property
    def kafka(self) -> KafkaConnection:
        """How the test principal connects: it writes what the platform writes, and reads everything."""
        return KafkaConnection.named(self.env)

    def as_writer(self, topic: str) -> KafkaConnection:
        """Return how the first service connects that may write a topic: the test principal writes only two."""
        (writer,) = {file.writers[0] for file in topic_files() if file.topic == topic}
        password = self._secrets(writer)["kafka"]["sasl_password"]
        return KafkaConnection.like(self.kafka, sasl_username=writer, sasl_password=password)

    @property
    def _jwks(self) -> str:
        return f"{self.env['VERIFIER_URL']}/.well-known/jwks.json"

    def _secrets(self, service: str) -> dict[str, Any]:
        held: dict[str, Any] = json.loads((Path(self.env["SECRETS_DIR"]) / f"{service}.json").read_text())
        return held


@asynccontextmanager
async def _pool(settings: ServiceSettings, name: str) -> AsyncIterator[Any]:
    pool = await open_pool(settings.postgres.dsn.get_secret_value(), name)
    try:
        yield pool
    finally:
        await pool.close()


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


def code_of(text: str) -> str:
    """Return the code of a text's last line."""
    found = _CODE.search(text)
    assert found is not None, "the text holds no line of the form `@host #code`"
    return found[1]


def new_number() -> str:
    """Return a number that no household of the last 333 has."""
    area, last = divmod(next(_NUMBERS) % 1000, 100)
    return f"+1{_AREAS[area]}55501{last:02}"


def new_address() -> str:
    """Draw an address that no account has used; the local policy takes private ones for places."""
    return ".".join(str(part) for part in (10, *secrets.token_bytes(3)))


async def until(check: Callable[[], Awaitable[bool]], what: str, within: float = 20.0) -> None:
    """Wait for a state, and say what never came."""
    try:
        async with asyncio.timeout(within):
            while not await check():  # noqa: ASYNC110 - the state is elsewhere and sets no event
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {within:g} s") from None
