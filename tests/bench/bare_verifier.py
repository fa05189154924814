"""The verifier by hand: opens challenges, decides, signs, and judges answers over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import b64decode
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from secrets import randbelow, token_bytes
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract import base64url, challenge_id_of
from services.verifier import store_deliveries
from services.verifier.store_assessments import LOAD, TAKE_IN, TAKE_TURNS
from services.verifier.store_challenges import COUNT, LOCK, READ, READ_GOOD_FOR
from tests.bench.bare import log, out, secret_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.bench.bare import Bare, Out

_LIFETIME = timedelta(minutes=5)

# One thing after the other: what ours stores in one statement.
OPEN = """
WITH opened AS (
    INSERT INTO challenge (challenge_id, request_id, account_id, user_id, action, digest, reasons, client, summary,
                           traceparent, place, place_known, number_id, number_hint, attempts_max, issued_at, expires_at)
    SELECT challenge_id, request_id, account_id, user_id, action, digest, string_to_array(reasons, ' '), client,
           summary, traceparent, place, place_known, number_id, number_hint, $16, $17, $18
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
                  $9::text[], $10::text[], $11::text[], $12::boolean[], $13::uuid[], $14::text[], $15::bytea[])
        AS o (challenge_id, request_id, account_id, user_id, action, digest, reasons, client, summary, traceparent,
              place, place_known, number_id, number_hint, code_digest)
     ORDER BY challenge_id
), counted AS (
    INSERT INTO counter (user_id, place_known)
    SELECT DISTINCT user_id, place_known FROM unnest($4::uuid[], $12::boolean[]) AS o (user_id, place_known)
     ORDER BY user_id, place_known
        ON CONFLICT DO NOTHING
)
INSERT INTO send (challenge_id, send, code_digest, issued_at)
SELECT challenge_id, 1, code_digest, $17 FROM unnest($1::uuid[], $15::bytea[]) AS o (challenge_id, code_digest)
 ORDER BY challenge_id
"""

DECIDE = """
INSERT INTO decision (request_id, outcome, reason, retry_at, grant_jws, grant_expires_at, decided_at)
SELECT request_id, outcome, reason, retry_at, grant_jws, grant_expires_at, $7
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
    AS d (request_id, outcome, reason, retry_at, grant_jws, grant_expires_at)
 ORDER BY request_id
    ON CONFLICT DO NOTHING RETURNING request_id
"""


class Verify:
    """An allowed request is granted, any other challenged."""

    topics = ("access.assessments.v1", "sms.deliveries.v1")

    def __init__(self, asked: argparse.Namespace) -> None:
        self._port = asked.port
        _, self._mac_key = secret_of(asked, "assessment_keys")
        self._code_key_id, code_key = secret_of(asked, "code_keys")
        self._seal = AESGCM(code_key)
        self._grant_key_id, seed = secret_of(asked, "grant_keys")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._pepper = b64decode(json.loads(Path(asked.secrets).read_text())["pepper"])
        self._challenged: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._bare: Bare
        self._pool: asyncpg.Pool[asyncpg.Record]

    async def fold(self, db: Any, topic: str, values: Sequence[dict[str, Any]], keys: Sequence[bytes]) -> list[Out]:
        """Load, decide, save."""
        del keys
        if topic == "sms.deliveries.v1":
            return await self._deliver(db, values)
        ids, users = [UUID(v["request_id"]) for v in values], [UUID(v["user_id"]) for v in values]
        accounts, places = [UUID(v["account_id"]) for v in values], [v["place"] for v in values]
        await db.execute(TAKE_TURNS, users)
        known = [v["place_known"] for v in values]
        rows = await db.fetch(LOAD, ids, accounts, users, [None] * len(ids), places, known)
        now, by_id = rows[0]["now"], {row["request_id"]: row for row in rows}
        actions, digests = [v["action"] for v in values], [v["digest"] for v in values]
        reqs = [v.get("req") for v in values]
        stored = await db.fetch(TAKE_IN, ids, accounts, users, actions, digests, places, reqs, now)
        new = {row["request_id"] for row in stored}
        taken = [v for v, asked in zip(values, ids, strict=True) if asked in new]
        for value in taken:
            self._check(value)
        texts = await self._open(db, [v for v in taken if v["outcome"] != "allow"], by_id, now)
        return texts + await self._grant(db, [v for v in taken if v["outcome"] == "allow"], "none", now)

    def _check(self, value: dict[str, Any]) -> None:
        mac = value.pop("mac")
        covered = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert hmac.compare_digest(mac, base64url(hmac.digest(self._mac_key, covered, "sha256")))

    async def _deliver(self, db: Any, values: Sequence[dict[str, Any]]) -> list[Out]:
        ids = [UUID(value["challenge_id"]) for value in values]
        await db.execute(LOCK, ids)
        await db.fetch(store_deliveries.TEXTS, ids)
        nothing = [None] * len(ids)
        await db.execute(store_deliveries.DELIVER, ids, [1] * len(ids), ["accepted"] * len(ids), nothing, nothing)
        return []

    async def _open(self, db: Any, values: Sequence[dict[str, Any]], by_id: dict[UUID, Any], now: Any) -> list[Out]:
        rows, texts = [], []
        for value in values:
            asked = UUID(value["request_id"])
            challenge, number = challenge_id_of(asked), by_id[asked]["own_number_id"]
            typed, nonce = f"{randbelow(10**6):06d}", token_bytes(12)
            issued = {
                name: value[name] for name in ("request_id", "account_id", "user_id", "action", "summary", "client")
            }
            issued |= {"challenge_id": str(challenge), "send": 1, "number_id": str(number), "key_id": self._code_key_id}
            issued["expires_at"] = (now + _LIFETIME).isoformat()
            rest = json.dumps(issued, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            issued["sealed_code"] = base64url(nonce + self._seal.encrypt(nonce, typed.encode(), rest))
            texts.append(out("access.challenges.v1", "countersign.challenge.issued.v1", str(challenge), issued, now))
            rows.append(
                (
                    challenge,
                    asked,
                    UUID(value["account_id"]),
                    UUID(value["user_id"]),
                    value["action"],
                    value["digest"],
                    "ip.new",
                    json.dumps(value["client"]),
                    json.dumps(value["summary"]),
                    None,
                    value["place"],
                    False,
                    number,
                    by_id[asked]["own_number_hint"],
                    self._digest(challenge, typed),
                )
            )
        if rows:
            await db.execute(OPEN, *(list(column) for column in zip(*rows, strict=True)), 5, now, now + _LIFETIME)
        return texts

    def committed(self, values: Sequence[dict[str, Any]]) -> None:
        """Wake those who wait for a challenge."""
        for value in values:
            if value.get("outcome") == "challenge":
                self._challenged[value["request_id"]].set()

    def _digest(self, challenge: UUID, typed: str) -> bytes:
        return hmac.digest(self._pepper, b"|".join((challenge.bytes, b"1", typed.encode())), "sha256")

    async def _grant(self, db: Any, asked: Sequence[Any], method: str, now: Any) -> list[Out]:
        if not asked:
            return []
        grants = [self._sign(one, method, now) for one in asked]
        ids = [UUID(str(one["request_id"])) for one in asked]
        granted, nothing = ["granted"] * len(ids), [None] * len(ids)
        await db.fetch(DECIDE, ids, granted, nothing, nothing, grants, [now + _LIFETIME] * len(ids), now)
        outs = []
        for one, grant in zip(asked, grants, strict=True):
            event = {name: str(one[name]) for name in ("request_id", "account_id", "user_id", "action", "digest")}
            event |= {"method": method, "grant": grant, "grant_expires_at": (now + _LIFETIME).isoformat()}
            kind = "countersign.access.granted.v1"
            outs.append(out("access.decisions.v1", kind, event["request_id"], event | {"reasons": []}, now))
        return outs

    def _sign(self, one: Any, method: str, now: Any) -> str:
        issued = int(now.timestamp())
        claims = {"iss": "countersign", "aud": "countersign", "jti": str(one["request_id"]), "sub": str(one["user_id"])}
        claims |= {"acct": str(one["account_id"]), "act": one["action"], "dig": one["digest"]}
        more = {"amr": [] if method == "none" else ["sms"], "iat": issued, "exp": issued + 300}
        header = {"alg": "EdDSA", "typ": "countersign-grant+jwt", "kid": self._grant_key_id}
        signed = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims | more).encode())}"
        return f"{signed}.{base64url(self._private.sign(signed.encode()))}"

    # over HTTP

    async def beside(self, bare: Bare) -> None:
        """Listen for requests to wait for and answers to judge."""
        self._bare = bare
        settings = {"search_path": "bench_verifier", "jit": "off", "timezone": "UTC"}
        self._pool = await asyncpg.create_pool(bare.asked.dsn, min_size=1, max_size=8, server_settings=settings)
        app = web.Application()
        app.router.add_get("/v1/requests/{id}", self._request)
        app.router.add_post("/v1/challenges/{id}/answers", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            self._pool.terminate()

    async def _request(self, request: web.Request) -> web.Response:
        asked = request.match_info["id"]
        await self._challenged[asked].wait()
        del self._challenged[asked]
        async with self._pool.acquire() as db:
            await db.fetchrow("SELECT * FROM challenge WHERE request_id = $1", UUID(asked))
        return web.json_response({"request_id": asked, "state": "challenged"})

    async def _answer(self, request: web.Request) -> web.Response:
        challenge_id, given = UUID(request.match_info["id"]), json.loads(await request.read())
        answer_id = UUID(given["answer_id"])
        async with self._pool.acquire() as db:
            row = await db.fetchrow(READ, challenge_id, answer_id)
            now = row["now"]
            assert hmac.compare_digest(row["digests"][0], self._digest(challenge_id, given["code"]))
            read = (row["attempts"], row["failures"], row["last_failed_at"], now + READ_GOOD_FOR)
            judged = (row["attempts"] + 1, 0, None, answer_id, True, 4, now, now)
            async with db.transaction():
                await db.fetch(COUNT, challenge_id, *read, *judged)
                outs = await self._grant(db, [row], "sms", now)
                await self._bare.append(db, outs)
        self._bare.publish(outs)
        log("answered", "", {"account_id": str(row["account_id"])})
        return web.json_response({"verdict": "accepted", "grant": json.loads(outs[0].value)["grant"], "tries_left": 4})
