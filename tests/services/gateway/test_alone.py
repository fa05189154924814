"""A gateway on its own: who is let near a hash, passwords of every normal form, and how it is addressed."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from argon2 import PasswordHasher

from deploy.local.process import free_ports
from services.gateway.decide import EMAIL_RATE
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import SERVICE
from tests.support.frame import running
from tests.support.remarks import problem_of
from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

PUBLIC = "https://login.example.com"
LED_ON = "/login/code"  # where a right password leads
ADD = """
INSERT INTO gateway.person (user_id, account_id, email, name, password, staff) VALUES ($1, $2, $3, 'Ada', $4, false)
"""
KNOW = """
INSERT INTO risk_evaluator.place (account_id, place, taught_by, first_used_at, last_used_at)
VALUES ($1, $2::text::cidr, $3, now(), now())
"""


@dataclass
class Alone:
    """A running gateway, spoken to as its proxy would."""

    url: str
    servers: Servers

    async def add(self, password: str) -> tuple[UUID, UUID, str]:
        """Add a person whose hash is of the password as it was typed; return account, user and e-mail."""
        account_id, user_id, email = uuid4(), uuid4(), f"{uuid4().hex}@example.com"
        hashed = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(password)
        await self.execute(ADD, user_id, account_id, email, hashed)
        return account_id, user_id, email

    async def execute(self, statement: str, *values: Any) -> Any:
        """Run a statement as superuser."""
        db = await asyncpg.connect(self.servers.postgres_dsn)
        try:
            return await db.fetchval(statement, *values)
        finally:
            await db.close()

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        """Return status, Location and page; redirects are not followed."""
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.url + path, allow_redirects=False, **options) as answer,
        ):
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def give_password(self, email: str, password: str, address: str, host: str = "login.example.com") -> str:
        """Open the form and send it as a new browser; return which problem it led to, or where else."""
        seen = {"Host": host, "X-Forwarded-For": address}
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{self.url}/login", headers=seen) as page:
                hidden = dict(re.findall(r'name="(csrf|once)" value="([^"]+)"', await page.text()))
                secret = page.cookies["__Host-session"].value
            headers = {**seen, "Cookie": f"__Host-session={secret}", "Origin": f"https://{host}"}
            form = {**hidden, "email": email, "password": password}
            async with http.post(f"{self.url}/login", data=form, headers=headers, allow_redirects=False) as answer:
                leads, remark = answer.headers["Location"], answer.cookies.get("__Host-remark")
            if leads != "/login" or remark is None:
                return leads
            headers = {**seen, "Cookie": f"__Host-session={secret}; __Host-remark={remark.value}"}
            async with http.get(f"{self.url}/login", headers=headers) as page:
                return problem_of(await page.text())


@asynccontextmanager
async def _alone(servers: Servers, **password: int) -> AsyncIterator[Alone]:
    held = servers.secrets["gateway"]
    port, console_port = free_ports(2)
    nowhere = {f"{name}_url": "http://127.0.0.1:1" for name in ("verifier", "enrolment", "exports")}
    settings = GatewaySettings(
        **{**held, "services": {**held["services"], **nowhere}},
        kafka={"bootstrap_servers": servers.kafka},
        public_url=PUBLIC,
        console_url="https://console.example.com",
        port=port,
        console_port=console_port,
        trusted_proxies=["127.0.0.1/32"],
        jwks_url="http://127.0.0.1:1/jwks",
        password=password,
        instance=uuid4().hex[:12],
    )
    async with running(SERVICE, settings):
        yield Alone(f"http://127.0.0.1:{port}", servers)


async def test_a_flood_of_wrong_passwords_keeps_nobody_out(servers: Servers) -> None:
    """While strangers fill their half of the queue, the owner at a known place is judged."""
    async with _alone(servers, threads=1, waiting_max=4, memory_kib=65_536, passes=10) as gateway:
        account_id, user_id, email = await gateway.add("right")
        home, full = new_address(), asyncio.Event()
        await gateway.execute(KNOW, account_id, f"{home}/32", user_id)

        async def guess(n: int) -> None:
            if await gateway.give_password(f"{n}.{email}", "wrong", new_address()) == "busy":
                full.set()

        async with asyncio.TaskGroup() as group:
            for n in range(20):
                group.create_task(guess(n))
            await full.wait()
            assert await gateway.give_password(email, "right", home) == LED_ON


async def test_a_try_that_was_not_judged_is_not_counted(servers: Servers) -> None:
    """However many find the queue full: an e-mail has its ten judged tries from strange places, then it waits."""
    async with _alone(servers, threads=1, waiting_max=2, memory_kib=65_536) as gateway:
        email = f"{uuid4().hex}@example.com"
        tried = [gateway.give_password(email, "wrong", new_address()) for _ in range(40)]
        at_once = await asyncio.gather(*tried)
        assert set(at_once) == {"wrong", "busy"}
        left = EMAIL_RATE.burst - at_once.count("wrong")
        one_by_one = [await gateway.give_password(email, "wrong", new_address()) for _ in range(left + 1)]
        assert one_by_one == ["wrong"] * left + ["limited"]


async def test_a_password_is_the_same_in_every_normal_form(servers: Servers) -> None:
    """Hashes of the text as it was typed keep working, and after one right password every keyboard is right."""
    composed, decomposed = "caf\u00e9 \ufb01ne", "cafe\u0301 \ufb01ne"
    async with _alone(servers) as gateway:
        for typed, other in ((composed, decomposed), (decomposed, composed)):
            _, _, email = await gateway.add(typed)
            assert await gateway.give_password(email, f"{typed} ", new_address()) == "wrong"
            for password in (typed, other, typed, "cafe\u0301 fine"):
                assert await gateway.give_password(email, password, new_address()) == LED_ON, ascii(password)
            assert await gateway.give_password(email, "cafe fine", new_address()) == "wrong"
            assert await gateway.execute("SELECT password_nfkc FROM gateway.person WHERE email = $1", email)


async def test_our_host_however_it_is_written(servers: Servers) -> None:
    """The page is shown and the form is taken; none is led to itself. Other hosts are led to ours."""
    async with _alone(servers) as gateway:
        for host in ("login.example.com", "login.example.com:443", "LOGIN.Example.COM", "login.example.com."):
            status, leads, _ = await gateway.ask("GET", "/login", headers={"Host": host})
            assert (status, leads) == (200, ""), host
            assert await gateway.give_password("nobody@example.com", "wrong", new_address(), host) == "wrong"
        for host in ("evil.example", "login.example.com:8443", "login.example.com.evil.example"):
            await _is_led_to_ours(gateway, host)


async def _is_led_to_ours(gateway: Alone, host: str) -> None:
    """Whatever the request line says: what follows our origin is a path."""
    headers = {"Host": host}
    assert await gateway.ask("GET", "/login?x=%0D%0A", headers=headers) == (303, f"{PUBLIC}/login?x=%0D%0A", "")
    assert (await gateway.ask("POST", "/login", headers=headers))[0] == 421
    port = int(gateway.url.rpartition(":")[2])
    for target in ("@evil.example/", "//evil.example/", "http://evil.example/x", "/%0d%0aX:y", "*"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.read()).decode(errors="replace").partition("\r\n\r\n")[0]
        writer.close()
        for line in head.splitlines():
            if line.lower().startswith("location:"):
                assert re.match(rf"{PUBLIC}/(?!/)", line.partition(": ")[2]), (target, line)
