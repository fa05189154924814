"""Logged in as each service's database role: what is not its own is refused, but for the views published to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from deploy.local.postgres import ROLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

# Design, section 7: who may read which view, and its columns. Nothing else crosses a schema.
PUBLISHED = {
    ("enrolment", "protection"): {"risk_evaluator", "verifier"},
    ("enrolment", "number"): {"risk_evaluator", "verifier"},
    ("enrolment", "sealed_number"): {"notifier"},
    ("enrolment", "open_reset"): {"gateway"},
    ("risk_evaluator", "known_place"): {"gateway", "enrolment"},
    ("risk_evaluator", "refusal"): {"verifier"},
    ("verifier", "activity"): {"gateway"},
    **{(schema, "timeline"): {"enrolment"} for schema in ("exports", "notifier", "risk_evaluator", "verifier")},
}
_TIMELINE = "request_id challenge_id account_id user_id at what detail"
COLUMNS = {
    ("enrolment", "protection"): "account_id user_id role two_factor number_id number_state number_hint "
    "exports_held_until unlocked_at",
    ("enrolment", "number"): "number_id user_id state number_hint",
    ("enrolment", "sealed_number"): "number_id user_id sealed key_id fingerprint country account_id account_members "
    "locale role state",
    ("enrolment", "open_reset"): "account_id user_id two_factor at until anywhere",
    ("risk_evaluator", "refusal"): "request_id cause kept_at",
    ("risk_evaluator", "known_place"): "account_id place taught_by first_used_at last_used_at",
    ("verifier", "activity"): "account_id user_id at place action outcome challenge_id",
    **{(schema, "timeline"): _TIMELINE for schema in ("exports", "notifier", "risk_evaluator", "verifier")},
}

RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
 ORDER BY 1, 2
"""

RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"]

HELD = """
SELECT n.nspname, c.relname, r.rolname, p.name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r, unnest($2::text[]) AS p (name)
 WHERE n.nspname = ANY($1) AND r.rolname = ANY($1) AND r.rolname <> n.nspname
   AND c.relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege(r.oid, c.oid, p.name)
"""

FUNCTIONS = """
SELECT n.nspname, p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = ANY($1) AND p.prorettype <> 'trigger'::regtype
"""


@pytest_asyncio.fixture(loop_scope="session")
async def relations(servers: Servers) -> list[tuple[str, str, str]]:
    """Return every table, view and sequence of the six schemas."""
    superuser = await asyncpg.connect(servers.postgres_dsn)
    try:
        rows = [tuple(row) for row in await superuser.fetch(RELATIONS, list(ROLES))]
    finally:
        await superuser.close()
    assert {schema for schema, _, _ in rows} == set(ROLES), "each service has laid its tables"
    return rows


@pytest_asyncio.fixture(params=ROLES, loop_scope="session")
async def role(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Log in as one service, as it does itself."""
    connection = await asyncpg.connect(servers.dsn_of(request.param), server_settings={"search_path": request.param})
    try:
        yield request.param, connection
    finally:
        await connection.close()


async def refused(db: asyncpg.Connection, sql: str) -> bool:
    """Say whether PostgreSQL refuses a statement, and leave nothing behind if it does not.

    For want of a right; or, as that is looked at first, because a view of several tables cannot be written at all.
    """
    transaction = db.transaction()
    await transaction.start()
    try:
        await db.execute(sql)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        return "view" in str(error)
    except asyncpg.PostgresError:  # the right was there, and something else was not
        return False
    finally:
        await transaction.rollback()
    return False


def writes(relation: str) -> list[str]:
    """Return the ways of changing a relation."""
    return [
        f"INSERT INTO {relation} DEFAULT VALUES",
        f"DELETE FROM {relation}",
        f"TRUNCATE {relation}",
        f"LOCK TABLE {relation} IN EXCLUSIVE MODE",
        f"ALTER TABLE {relation} OWNER TO CURRENT_USER",
        f"DROP TABLE {relation}",
    ]


async def test_nothing_of_another_service_is_read_but_what_it_publishes(
    role: tuple[str, asyncpg.Connection], relations: list[tuple[str, str, str]]
) -> None:
    """Every table, view and sequence of the other five schemas, one by one."""
    name, db = role
    readable = set()
    for schema, relation, kind in relations:
        if schema != name:
            sql = f'SELECT * FROM "{schema}"."{relation}" LIMIT 0'
            if not await refused(db, sql):
                assert kind == "v"
                readable.add((schema, relation))
    assert readable == {view for view, readers in PUBLISHED.items() if name in readers}


async def test_nothing_of_another_service_is_changed(
    role: tuple[str, asyncpg.Connection], relations: list[tuple[str, str, str]]
) -> None:
    """Not its tables, and not through the views that it publishes."""
    name, db = role
    for schema, relation, kind in relations:
        if schema != name and kind != "S":
            for sql in writes(f'"{schema}"."{relation}"'):
                if sql.startswith("DROP TABLE") and kind == "v":
                    sql = sql.replace("TABLE", "VIEW")  # noqa: PLW2901 - the same, for a view
                if sql.startswith("TRUNCATE") and kind == "v":
                    continue
                assert await refused(db, sql), sql


async def test_the_rights_across_schemas_are_to_select_the_published_views(servers: Servers) -> None:
    """As the catalogue has it: also those rights that no statement above asks for."""
    superuser = await asyncpg.connect(servers.postgres_dsn)
    try:
        held = {tuple(row) for row in await superuser.fetch(HELD, list(ROLES), RIGHTS)}
    finally:
        await superuser.close()
    assert held == {(schema, view, name, "SELECT") for (schema, view), names in PUBLISHED.items() for name in names}


async def test_no_column_of_a_published_view_is_updated(role: tuple[str, asyncpg.Connection]) -> None:
    """Column by column, also by those who may read it."""
    name, db = role
    for (schema, view), columns in COLUMNS.items():
        if schema != name:
            for column in columns.split():
                assert await refused(db, f"UPDATE {schema}.{view} SET {column} = NULL"), column


async def test_published_views_have_the_columns_that_were_agreed(servers: Servers) -> None:
    """Others join them."""
    superuser = await asyncpg.connect(servers.postgres_dsn)
    try:
        for (schema, view), columns in COLUMNS.items():
            found = await superuser.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
                f"{schema}.{view}",
            )
            assert [row["attname"] for row in found] == columns.split(), f"{schema}.{view}"
    finally:
        await superuser.close()


async def test_nobody_makes_anything_in_another_schema(role: tuple[str, asyncpg.Connection]) -> None:
    """Nor in public, nor a schema or a database of its own, nor rights for itself."""
    name, db = role
    for schema in (*ROLES, "public"):
        if schema != name:
            assert await refused(db, f'CREATE TABLE "{schema}".intruder (x integer)')
            assert await refused(db, f'CREATE VIEW "{schema}".intruder AS SELECT 1 AS x')
    for sql in (
        "CREATE SCHEMA intruder",
        "CREATE ROLE intruder",
        f"ALTER ROLE {name} SUPERUSER",
        f"ALTER ROLE {name} CREATEROLE",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        *(f"SET LOCAL ROLE {other}" for other in ROLES if other != name),
        *(f"GRANT {other} TO {name}" for other in ROLES if other != name),
    ):
        assert await refused(db, sql), sql


async def test_no_role_is_more_than_a_login(servers: Servers) -> None:
    """No superuser, no maker of roles or databases, no replication, no bypass, member of nothing."""
    superuser = await asyncpg.connect(servers.postgres_dsn)
    try:
        rows = await superuser.fetch(
            "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS powerful, "
            "EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid) AS member "
            "FROM pg_roles r WHERE rolname = ANY($1)",
            list(ROLES),
        )
        functions = await superuser.fetch(FUNCTIONS, list(ROLES))
    finally:
        await superuser.close()
    assert {row["rolname"] for row in rows} == set(ROLES)
    assert not [row["rolname"] for row in rows if row["powerful"] or row["member"]]
    assert functions == [], "a function in a schema may be called by whoever may use the schema"
