"""The notifier by hand: keeps texts, claims them, posts them with aiohttp alone, settles them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.notifier.settling import SETTLE
from services.notifier.store import DUE, INSERT, KNOWN, LOCK, MARK, RECENT
from tests.bench.bare import log, out, secret_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.bench.bare import Bare, Out

_PARALLEL = 64
_MESSAGE_ID = re.compile(r"<MessageId>([^<]*)<")


class Notify:
    """Every challenge becomes a text."""

    topics = ("access.challenges.v1",)

    def __init__(self, asked: argparse.Namespace) -> None:
        _, code_key = secret_of(asked, "code_keys")
        _, number_key = secret_of(asked, "number_keys")
        self._codes, self._numbers = AESGCM(code_key), AESGCM(number_key)
        self._sns = asked.sns
        self._free = asyncio.Semaphore(_PARALLEL)
        self._in_flight = 0
        self._due = asyncio.Event()
        self._done: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self._http: aiohttp.ClientSession

    async def fold(self, db: Any, topic: str, values: Sequence[dict[str, Any]], keys: Sequence[bytes]) -> list[Out]:
        """Keep texts."""
        del topic, keys
        ids, sends = [UUID(value["challenge_id"]) for value in values], [1] * len(values)
        await db.fetch(KNOWN, ids, sends)
        raws, prints = [json.dumps(value).encode() for value in values], []
        for value in values:
            self._code(value)
            prints.append(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest())
        accounts, users = [UUID(v["account_id"]) for v in values], [UUID(v["user_id"]) for v in values]
        numbers = [UUID(v["number_id"]) for v in values]
        expires = await db.fetchval("SELECT now() + interval '5 minutes'")
        nothing, no = [None] * len(ids), [False] * len(ids)
        asked = (ids, sends, prints, accounts, users, numbers, [expires] * len(ids), raws, nothing, no, no, nothing)
        await db.fetch(INSERT, *asked, "late")
        return []

    def committed(self, values: Sequence[dict[str, Any]]) -> None:
        """Wake the sender."""
        del values
        self._due.set()

    def _code(self, value: dict[str, Any]) -> str:
        sealed = _unsealed(value["sealed_code"])
        rest = {name: part for name, part in value.items() if name != "sealed_code"}
        aad = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return self._codes.decrypt(sealed[:12], sealed[12:], aad).decode()

    async def beside(self, bare: Bare) -> None:
        """Claim, post, settle."""
        db = await bare.connect()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_PARALLEL)) as self._http,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._settle(bare))
            while True:
                await self._free.acquire()
                self._free.release()
                room = _PARALLEL - self._in_flight
                async with db.transaction():
                    rows = await self._claim(db, room)
                for row in rows:
                    await self._free.acquire()
                    self._in_flight += 1
                    group.create_task(self._send(row))
                if len(rows) < room:
                    await self._due.wait()
                    self._due.clear()

    async def _claim(self, db: Any, room: int) -> list[Any]:
        rows: list[Any] = await db.fetch(DUE, room, True)
        if not rows:
            return []
        prints, accounts = [row["fingerprint"] for row in rows], [row["account_id"] for row in rows]
        locks = {
            int.from_bytes(hashlib.sha256(p).digest()[:4], signed=True) for p in (*prints, *(a.bytes for a in accounts))
        }
        await db.execute(LOCK, 1, sorted(locks))
        now = (await db.fetch(RECENT, prints, accounts, 1000, 33, 1000, 33))[0]["now"]
        ids, nothing = [row["challenge_id"] for row in rows], [None] * len(rows)
        countries = [row["country"] for row in rows]
        sends, steps = [1] * len(rows), ["send"] * len(rows)
        await db.execute(MARK, ids, sends, steps, nothing, nothing, prints, countries, now, [False] * len(rows))
        self._now = now
        return rows

    async def _send(self, row: Any) -> None:
        sealed = row["sealed"]
        number = self._numbers.decrypt(sealed[:12], sealed[12:], row["number_user_id"].bytes).decode()
        message = f"{(typed := self._code(json.loads(row['event'])))} is your code.\n@localhost #{typed}"
        form = {"Action": "Publish", "Version": "2010-03-31", "PhoneNumber": number, "Message": message}
        async with self._http.post(self._sns, data=form) as reply:
            found = _MESSAGE_ID.search(await reply.text())
        self._in_flight -= 1
        self._free.release()
        nothing = (None, None)
        columns = (
            row["challenge_id"],
            1,
            "claimed",
            1,
            "accepted",
            *nothing,
            1,
            found and found[1],
            0.0,
            row["challenge_id"],
        )
        self._done.put_nowait((columns, self._out(row, found)))

    async def _settle(self, bare: Bare) -> None:
        db = await bare.connect()
        while True:
            done = [await self._done.get()]
            while not self._done.empty():
                done.append(self._done.get_nowait())
            async with db.transaction():
                columns = [columns for columns, _ in done]
                rows = await db.fetch(SETTLE, *(list(column) for column in zip(*columns, strict=True)))
                outs = [out for _, out in done]
                await bare.append(db, outs)
            bare.publish(outs)
            for row in rows:
                log("settled", "", {"account_id": str(row["account_id"])})
            sys.stdout.flush()

    def _out(self, row: Any, found: re.Match[str] | None) -> Out:
        event = {name: str(row[name]) for name in ("challenge_id", "account_id", "user_id", "number_id", "country")}
        event |= {"send": 1, "segments": 1, "provider": "sns", "provider_message_id": found and found[1]}
        return out("sms.deliveries.v1", "countersign.sms.accepted.v1", event["challenge_id"], event, self._now)


def _unsealed(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
