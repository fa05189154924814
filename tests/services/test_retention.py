"""Every table of every service has an end, or a written reason why it needs none."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from countersign.runtime import retention
from countersign.runtime.due_work import own_tables
from deploy.local.checkout import CHECKOUT
from deploy.local.postgres import ROLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.retention import Rule
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
"""
# Another test may be rebuilding known places at this moment.
_REBUILDING = {"place_rebuilt", "forgotten_rebuilt", "place_before_rebuild"}
DAY = timedelta(days=1)


def rules_of(service: str) -> tuple[Rule, ...]:
    """Return the rules of a service's schema."""
    module = importlib.import_module(f"services.{service}.retention")
    own: tuple[Rule, ...] = module.rules(90 * DAY) if service == "risk_evaluator" else module.RULES
    return (*own_tables.RULES, *own)


ENDING = [(service, rule) for service in ROLES for rule in rules_of(service) if rule.statement is not None]


@pytest_asyncio.fixture(loop_scope="session")
async def db(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """Lend a superuser's connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(servers.postgres_dsn)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def at(db: asyncpg.Connection, service: str) -> None:
    await db.execute(f"SET LOCAL search_path = {service}")


@pytest.mark.parametrize("service", ROLES)
async def test_every_table_has_a_rule_or_a_reason(db: asyncpg.Connection, service: str) -> None:
    """A table that nobody thought about grows until the disk is full."""
    tables = {row["relname"] for row in await db.fetch(TABLES, service)} - _REBUILDING
    rules = rules_of(service)
    assert tables == {rule.table for rule in rules}
    assert [rule for rule in rules if not rule.why] == []
    names = [rule.name or rule.table for rule in rules]
    assert sorted(names) == sorted(set(names)), "`limits` prints one line for each"
    wiring = (CHECKOUT / "services" / service / "wiring.py").read_text()
    assert re.search(r"Sweep\(retention\.(RULES|rules\()", wiring), "and the service applies them"
    assert re.search(r"retention_limits\(retention\.(RULES|rules\()", "".join(_sources(f"services/{service}")))


@pytest.mark.parametrize(
    ("service", "rule"), ENDING, ids=lambda one: one if isinstance(one, str) else one.name or one.table
)
async def test_a_rule_takes_a_helping_by_an_index(db: asyncpg.Connection, service: str, rule: Rule) -> None:
    """It skips what others have locked, and never reads the table whole to find the few old rows."""
    assert rule.statement is not None
    assert rule.kept is not None
    assert "LIMIT $2 FOR UPDATE" in re.sub(r"\s+", " ", rule.statement)
    assert "SKIP LOCKED" in rule.statement
    await at(db, service)
    await db.execute("SET LOCAL enable_seqscan = off")  # a table of a test is small enough to be read whole
    await db.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await db.execute(f"PREPARE helping (interval, int) AS {rule.statement}")
    lines = await db.fetch("EXPLAIN (COSTS OFF) EXECUTE helping ('1 day', 1000)")
    plan = "\n".join(line[0] for line in lines)
    await db.execute("DEALLOCATE helping")
    assert "Seq Scan" not in plan, plan


async def test_no_more_rows_go_at_once_than_a_helping_has(db: asyncpg.Connection) -> None:
    """And what is left is gone on with."""
    await at(db, "verifier")
    await db.execute("DELETE FROM dead_letter")
    await db.executemany(
        'INSERT INTO dead_letter (topic, partition, "offset", value_bytes, value_sha256, headers, appended_at, kind, '
        "cause, state, changed_at) VALUES ('t', 0, $1, 0, '', '[]', now(), 'bug', 'c', 'done', now() - $2::interval)",
        [(offset, 41 * DAY) for offset in range(5)],
    )
    left = []
    for _ in range(3):
        more = await retention.apply(db, own_tables.RULES, rows_max=2)
        left.append((more, await db.fetchval("SELECT count(*) FROM dead_letter")))
    assert left == [(True, 3), (True, 1), (False, 0)]


async def test_letters_and_brakes_that_somebody_has_to_decide_about_stay(db: asyncpg.Connection) -> None:
    """However old; what is settled goes after 40 days, the whole record with it."""
    await at(db, "notifier")
    waiting = [("new", 0, 400), ("new", 3, 400), ("redrive", 1, 400)]
    settled = [("done", 0, 41), ("discarded", 0, 41), ("done", 0, 39)]
    await db.execute("DELETE FROM dead_letter; DELETE FROM brake")
    for offset, (state, tries, age) in enumerate(waiting + settled):
        await db.execute(
            'INSERT INTO dead_letter (topic, partition, "offset", value, value_bytes, value_sha256, headers, '
            "appended_at, kind, cause, state, tries, kept_at, changed_at) VALUES ('t', 0, $1, 'v', 1, '', '[]', now(), "
            "'bug', 'c', $2, $3, now() - $4::interval, now() - $4::interval)",
            *(offset, state, tries, age * DAY),
        )
    for partition, age in ((0, None), (1, 41 * DAY), (2, 39 * DAY)):
        await db.execute(
            "INSERT INTO brake (topic, partition, reason, since, released_at) "
            "VALUES ('t', $1, 'r', now() - interval '400 days', now() - $2::interval)",
            *(partition, age),
        )
    await retention.apply(db, own_tables.RULES)
    left = await db.fetch('SELECT "offset", state FROM dead_letter ORDER BY 1')
    assert [row[0] for row in left] == [0, 1, 2, 5]
    assert [row[0] for row in await db.fetch("SELECT partition FROM brake ORDER BY 1")] == [0, 2]


async def test_counters_that_count_nothing_go_and_failures_stay(db: asyncpg.Connection) -> None:
    """A year without a log-in resets no failures; a request whose challenge is open stays."""
    await at(db, "verifier")
    users = {name: uuid4() for name in ("failed", "clean", "recent")}
    for name, failures, age in (("failed", 9, 400), ("clean", 0, 41), ("recent", 0, 39)):
        await db.execute(
            "INSERT INTO counter (user_id, place_known, failures, used_at) VALUES ($1, true, $2, now() - $3::interval)",
            *(users[name], failures, age * DAY),
        )
    await retention.apply(db, rules_of("verifier"))
    left = await db.fetch("SELECT user_id FROM counter WHERE user_id = ANY($1::uuid[])", list(users.values()))
    assert {row["user_id"] for row in left} == {users["failed"], users["recent"]}


async def test_a_forgetting_stays_while_a_grant_could_bring_the_place_back(db: asyncpg.Connection) -> None:
    """That is, while the assessment of a request from before it is kept."""
    await at(db, "risk_evaluator")
    account, other, recent = uuid4(), uuid4(), uuid4()
    for one, age in ((account, 41), (other, 41), (recent, 39)):
        await db.execute(
            "INSERT INTO forgotten (account_id, forgotten_at) VALUES ($1, now() - $2::interval)", one, age * DAY
        )
    await db.execute(
        "INSERT INTO assessment (request_id, account_id, user_id, action, digest, place_known, outcome, reasons, "
        "policy_version, requested_at, assessed_at) VALUES ($1, $2, $3, 'login', 'd', false, 'allow', '{}', 'p', "
        "now() - interval '42 days', now() - interval '39 days')",
        *(uuid4(), other, uuid4()),
    )
    await retention.apply(db, rules_of("risk_evaluator"))
    ids = [account, other, recent]
    left = await db.fetch("SELECT account_id FROM forgotten WHERE account_id = ANY($1::uuid[])", ids)
    assert {row["account_id"] for row in left} == {other, recent}


async def test_nothing_personal_of_a_removed_member_stays_for_ever(db: asyncpg.Connection) -> None:
    """Their numbers go after 400 days; id and version stay, or an older member_set would bring them back."""
    await at(db, "enrolment")
    account, gone, back = uuid4(), uuid4(), uuid4()
    await db.execute("INSERT INTO account (account_id) VALUES ($1)", account)
    for user, age in ((gone, 401), (back, 399)):
        await db.execute(
            "INSERT INTO member (user_id, account_id, version, removed_at) VALUES ($1, $2, 7, now() - $3::interval)",
            *(user, account, age * DAY),
        )
        await db.execute(
            "INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, "
            "provided_at) VALUES ($1, $2, 'confirmed', 'h', 'SE', 's', 'k', 'f', now())",
            *(uuid4(), user),
        )
    request, open_request = uuid4(), uuid4()
    for request_id, age in ((request, 41), (open_request, 39)):
        await db.execute(
            "INSERT INTO request (request_id, account_id, user_id, action, digest, opened_at) "
            "VALUES ($1, $2, $3, 'change_number', 'd', now() - $4::interval)",
            *(request_id, account, back, age * DAY),
        )
    await retention.apply(db, rules_of("enrolment"))
    numbers = await db.fetch("SELECT user_id FROM phone_number WHERE user_id = ANY($1::uuid[])", [gone, back])
    assert [row["user_id"] for row in numbers] == [back]
    kept: Any = await db.fetch("SELECT user_id, version FROM member WHERE account_id = $1", account)
    assert {(row["user_id"], row["version"]) for row in kept} == {(gone, 7), (back, 7)}
    waiting = await db.fetch("SELECT request_id FROM request WHERE account_id = $1", account)
    assert [row["request_id"] for row in waiting] == [open_request]


def test_the_forty_days_are_written_once() -> None:
    """Whoever keeps natural keys for less than the others would fold an event twice."""
    found = [
        path.relative_to(CHECKOUT).as_posix()
        for root in ("countersign", "services")
        for path in Path(CHECKOUT / root).rglob("*.py")
        if re.search(r"days\s*=\s*40\b|DAYS\s*=\s*40\b|'40 days'", path.read_text())
    ]
    assert found == ["countersign/runtime/retention.py"]


def _sources(folder: str) -> list[str]:
    return [path.read_text() for path in sorted(Path(CHECKOUT / folder).glob("*.py"))]
