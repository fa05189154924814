"""The views `timeline`: whatever is asked of them is found by an index, however large the tables have become."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from countersign.timeline import reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

SCHEMAS = ("enrolment", "exports", "notifier", "risk_evaluator", "verifier")
OF = {"beginnings": ", ".join(f"'{what}'" for what in reading.BEGINNINGS)}
QUERIES = {
    "steps": reading.STEPS,
    "challenges": reading.CHALLENGES,
    "requests": reading.REQUESTS,
    "recent of an account": reading.RECENT.replace("{column}", "account_id"),
    "recent of a user": reading.RECENT.replace("{column}", "user_id"),
    "changes of an account": reading.CHANGES.replace("{column}", "account_id"),
    "changes of a user": reading.CHANGES.replace("{column}", "user_id"),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("schema", SCHEMAS)
async def test_no_query_reads_a_whole_table(servers: Servers, schema: str, query: str) -> None:
    """The plan for any parameters: where sequential scans are forbidden, each scan has a condition of an index."""
    plan = await plan_of(servers, schema, query)
    whole = [node["Relation Name"] for node in _nodes(plan) if _reads_everything(node)]
    assert whole == [], json.dumps(plan, indent=1)


@pytest.mark.parametrize("whose", ["recent of an account", "recent of a user"])
@pytest.mark.parametrize(
    ("schema", "tables"),
    [("risk_evaluator", ["assessment"]), ("verifier", ["request"]), ("exports", ["export"]), ("notifier", [])],
)
async def test_the_latest_are_the_first_of_an_index(
    servers: Servers, schema: str, tables: list[str], whose: str
) -> None:
    """One table a service, read backwards and no further than the limit: no sort, no join, no other branch."""
    plan = await plan_of(servers, schema, QUERIES[whose], of_few_rows=True)
    nodes = list(_nodes(plan))
    assert [node["Relation Name"] for node in nodes if "Relation Name" in node] == tables, json.dumps(plan, indent=1)
    if tables:
        assert [(node["Node Type"], node.get("Scan Direction")) for node in nodes[1:]] == [("Index Scan", "Backward")]


async def plan_of(servers: Servers, schema: str, query: str, *, of_few_rows: bool = False) -> dict[str, Any]:
    """Return PostgreSQL's plan for any parameters, without sequential scans where there is another way."""
    db = await asyncpg.connect(servers.postgres_dsn)
    try:
        await db.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        if of_few_rows:  # else the rows that other tests left decide whether sorting them is cheaper
            await db.execute("SET enable_bitmapscan = off; SET enable_sort = off")
        await db.execute("PREPARE asked AS " + query.format(schema=schema, **OF))
        blanks = ", ".join("NULL" for _ in set(re.findall(r"\$\d", query)))
        found = json.loads(await db.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked ({blanks})"))
        plan: dict[str, Any] = found[0]["Plan"]
        return plan
    finally:
        await db.close()


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes that are ever run; a branch of a view without such an id is not."""
    if "NULL::uuid = ANY" in plan.get("One-Time Filter", ""):
        return
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _reads_everything(node: dict[str, Any]) -> bool:
    if node["Node Type"] in {"Index Scan", "Index Only Scan"}:
        return "Index Cond" not in node
    return bool(node["Node Type"] == "Seq Scan")
