"""Searching everything that can be read for what must not be read there (design, invariant 11)."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from tests.support.kafka import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Digits that stand alone: in times and in hexadecimal any eight digits occur by chance.
_ALONE = re.compile(r"(?<![0-9A-Za-z.+_-])[0-9]{6,8}(?![0-9A-Za-z_-])")
_GRANT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{40,}")
_OURS = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'"
_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1::text[])"
# What the server itself shows of statements, under way or remembered.
_STATEMENTS = "SELECT coalesce(string_agg(query, E'\\n'), '') FROM pg_stat_activity"


@dataclass
class Needles:
    """What to search for, by kind. Grants are known by their form."""

    by_kind: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)

    def add(self, kind: str, *texts: str) -> None:
        """Search for these too."""
        self.by_kind[kind] |= set(texts)

    def found_in(self, text: str) -> set[str]:
        """Return the kinds of what stands in a text."""
        kinds = {"grant"} if _GRANT.search(text) else set()
        alone = set(_ALONE.findall(text))
        for kind, needles in self.by_kind.items():
            if kind == "code":
                if not needles.isdisjoint(alone):
                    kinds.add(kind)
            elif any(needle in text for needle in needles):
                kinds.add(kind)
        return kinds

    def found(self, hay: Mapping[str, str]) -> dict[str, set[str]]:
        """Return the places where something stands, with its kinds."""
        found = {where: self.found_in(text) for where, text in hay.items()}
        return {where: kinds for where, kinds in found.items() if kinds}


def secrets_in(held: object) -> Iterator[str]:
    """Return every secret of a secrets file: keys, bearers, passwords in addresses."""
    if isinstance(held, dict):
        for name, value in held.items():
            if name in {"secret", "token", "pepper", "fingerprint_key", "browser_key", "secret_access_key"}:
                yield str(value)
            elif name == "dsn":
                yield str(value).partition("://")[2].rpartition("@")[0].partition(":")[2]
            else:
                yield from secrets_in(value)
    elif isinstance(held, list):
        for one in held:
            yield from secrets_in(one)


async def all_topics(bootstrap: str) -> dict[str, str]:
    """Return every record of every topic from its start: key, value and headers, decoded from base64url too."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if not name.startswith("__")]
    finally:
        await admin.close()
    hay = {}
    for name in names:
        for record in await read_topic(bootstrap, name):
            parts = [record.key or b"", record.value or b"", *(value for _, value in record.headers)]
            hay[f"topic {name}/{record.partition}/{record.offset}"] = as_read(parts)
    return hay


async def all_tables(dsn: str) -> dict[str, str]:
    """Return every column of every table of every schema, bytes as text and in what they are usually written in."""
    db = await asyncpg.connect(dsn)
    try:
        schemas = [row["nspname"] for row in await db.fetch(_OURS)]
        hay = {"statements": await db.fetchval(_STATEMENTS)}
        for schema, table in await db.fetch(_TABLES, schemas):
            rows = await db.fetch(f'SELECT * FROM "{schema}"."{table}"')
            for column in rows[0].keys() if rows else ():
                hay[f"table {schema}.{table}.{column}"] = as_read(row[column] for row in rows)
        return hay
    finally:
        await db.close()


def all_processes(pids: Mapping[str, int]) -> dict[str, str]:
    """Return the command line and the environment of processes, as anybody of the same user sees them."""
    return {
        f"process {name} {what}": as_read(Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0"))
        for name, pid in pids.items()
        for what in ("cmdline", "environ")
    }


def as_read(values: Iterable[Any]) -> str:
    """Return values as lines of text: bytes as UTF-8, in hexadecimal and in both kinds of base64."""
    lines = []
    for value in values:
        if isinstance(value, bytes):
            both = base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()
            lines += [value.decode("utf-8", "replace"), value.hex(), *both]
        elif value is not None:
            lines.append(str(value))
    return "\n".join(lines)
