"""Who has an account, and whose password it was, is told by nothing: not by words, headers, cookies, nor by time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
from argon2 import PasswordHasher

from deploy.local.process import free_ports
from services.gateway.decide import EMAIL_RATE
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import SERVICE
from tests.support.frame import running
from tests.support.pages import browser
from tests.support.remarks import problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

TRIES = 200
RIGHT = "correct-horse"
ADD = """
INSERT INTO gateway.person (user_id, account_id, email, name, password, staff)
SELECT gen_random_uuid(), gen_random_uuid(), email, 'Ada', $2, $3 FROM unnest($1::text[]) AS e (email)
"""
# What is new with every answer, and what the visitor typed.
_CHANGING = re.compile(r'name="(csrf|once)" value="[^"]+"|value="[^"]*@example\.com"')
_COOKIE = re.compile(r"=[\w-]{43,}")


@dataclass(frozen=True)
class Told:
    """Everything that an answer tells, but for what differs with every answer."""

    status: int
    problem: str
    words: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Spent:
    """What an answer took: by the clock, and of the CPU time of gateway and client together."""

    ms: float
    cpu_ms: float


@pytest.fixture
async def gateway(servers: Servers) -> AsyncIterator[GatewaySettings]:
    """Run a gateway alone: who is refused at the door needs no other service."""
    held = servers.secrets["gateway"]
    port, console_port = free_ports(2)
    nowhere = {f"{name}_url": "http://127.0.0.1:1" for name in ("verifier", "enrolment", "exports")}
    settings = GatewaySettings(
        **{**held, "services": {**held["services"], **nowhere}},
        kafka={"bootstrap_servers": servers.kafka},
        public_url=f"http://127.0.0.1:{port}",
        console_url=f"http://127.0.0.1:{console_port}",
        port=port,
        console_port=console_port,
        trusted_proxies=["127.0.0.1/32"],
        jwks_url="http://127.0.0.1:1/jwks",
        instance=uuid4().hex[:12],
    )
    async with running(SERVICE, settings):
        yield settings


async def test_nobody_learns_who_exists(gateway: GatewaySettings, servers: Servers, say: Callable[[str], None]) -> None:
    """Two hundred tries by turns: a wrong password, an unknown address, and an account manager at the wrong site."""
    each = -(-TRIES // (3 * (EMAIL_RATE.burst - 1)))  # addresses of a kind, so that none comes to its limit
    names = {kind: [f"{uuid4().hex}@example.com" for _ in range(each)] for kind in ("wrong", "unknown", "staff")}
    await _add(servers, names["wrong"], staff=False)
    await _add(servers, names["staff"], staff=True)
    told: dict[str, set[Told]] = {kind: set() for kind in names}
    spent: dict[str, list[Spent]] = {kind: [] for kind in names}
    for n in range(-(-TRIES // 3)):
        for kind, emails in names.items():  # by turns, so that a busy machine slows all of them
            password = RIGHT if kind == "staff" else "not it"
            answer, took = await _try(gateway, emails[n % each], password, f"10.7.{n}.{len(kind)}")
            told[kind].add(answer)
            spent[kind].append(took)
    for kind, times in spent.items():
        low, mid, high = quantiles([one.ms for one in times], n=4)
        say(f"enumeration: {kind}: median {mid:.1f} ms ({low:.1f} to {high:.1f}) of {len(times)}")
    waited, medians = (
        [median(getattr(one, clock) for one in times) for times in spent.values()] for clock in ("ms", "cpu_ms")
    )
    apart = [max(some) - min(some) for some in (waited, medians)]
    say(f"enumeration: the medians differ by {apart[0]:.2f} ms, and by {apart[1]:.2f} ms of CPU time")
    assert told["wrong"] == told["unknown"] == told["staff"]
    (answer,) = told["wrong"]
    assert (answer.status, answer.problem) == (303, "wrong")
    # A hash takes the time. Whoever skipped it for unknown addresses would be ten times faster. By CPU time, as others
    # may use the machine meanwhile.
    assert max(medians) < 2 * min(medians)


async def test_the_limit_tells_nothing_either(gateway: GatewaySettings, servers: Servers) -> None:
    """The eleventh try of an address is refused with the same words and wait, whether somebody has it or not."""
    known, unknown = (f"{uuid4().hex}@example.com" for _ in range(2))
    await _add(servers, [known], staff=False)
    at_the_limit: dict[str, Told] = {}
    for n in range(EMAIL_RATE.burst + 1):
        for email in (known, unknown):
            at_the_limit[email], _ = await _try(gateway, email, "not it", f"10.8.{n}.1")
    assert at_the_limit[known] == at_the_limit[unknown]
    assert at_the_limit[known].problem == "limited"


async def _try(gateway: GatewaySettings, email: str, password: str, address: str) -> tuple[Told, Spent]:
    """Open the form and send it, as a new browser at an address; return what is told, and what it took."""
    url = f"{str(gateway.public_url).rstrip('/')}/login"
    async with browser(address) as http:
        async with http.get(url) as page:
            token = re.search(r'name="csrf" value="([^"]+)"', await page.text())
        assert token is not None
        began, cpu = perf_counter(), process_time()
        form = {"csrf": token[1], "email": email, "password": password}
        async with http.post(url, data=form, allow_redirects=False) as answer:
            took = Spent((perf_counter() - began) * 1000, (process_time() - cpu) * 1000)
            assert await answer.text() == ""
        async with http.get(url) as page:  # where it leads: the form again, with the problem
            words = await page.text()
        return Told(answer.status, problem_of(words), _CHANGING.sub("", words), _headers(answer.headers)), took


def _headers(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            (name, _COOKIE.sub(lambda found: f"={len(found[0])}", value))
            for name, value in headers.items()
            if name != "Date"
        )
    )


async def _add(servers: Servers, emails: list[str], *, staff: bool) -> None:
    db = await asyncpg.connect(servers.postgres_dsn)
    try:
        hashed = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(RIGHT)
        await db.execute(ADD, emails, hashed, staff)
    finally:
        await db.close()
