"""Checking grants offline: the verifier's published keys are fetched now and then, and kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from countersign.client.calls import whole_body
from countersign.client.denial import DENIAL_TYP, Denial, judge_denial
from countersign.client.grant import (
    TYP,
    Expected,
    Grant,
    GrantRefusedError,
    PublishedKey,
    Realm,
    judge_grant,
    judge_taught,
    key_id_of,
    read_grant,
)
from countersign.runtime.errors import KeyUnknownError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from datetime import datetime

# A key is published 10 minutes before it signs by rule, so older keys are looked at again by then.
KEYS_AGE_MAX = 600.0
# Older keys are used only if the verifier was asked again first: one that it took out must not count for long.
KEYS_OLD = 2 * KEYS_AGE_MAX
# A forged key id must not turn every grant into a request to the verifier.
REFRESH_PAUSE = 5.0
# In the background only one request is made at a time, whatever the grants: a verifier that was away is asked soon.
RETRY_PAUSE = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
_JWKS_BYTES_MAX = 256 * 1024


class KeysAwayError(ConnectionError):
    """The verifier's keys cannot be fetched, and those at hand do not include the one needed."""


class Grants:
    """Judges grants with the verifier's published keys.

    `check` is for whoever got a grant in hand; `prepare` and then `judge` are its two halves. A program that reads
    topics keeps the keys fresh with `keeping_fresh`, calls `want` before it judges, and never waits for the verifier.
    """

    def __init__(
        self,
        jwks_url: str,
        *,
        audience: str = "countersign",
        issuer: str = "countersign",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = jwks_url
        self.realm = Realm(issuer=issuer, audience=audience)
        self._monotonic = monotonic
        self.keys: Mapping[str, PublishedKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._away: str | None = None
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def check(self, grant: str, expected: Expected, now: datetime) -> Grant:
        """Return the grant if it authorises exactly `expected` at `now`.

        Raises GrantRefusedError, whose `what` names the part that does not match, and KeysAwayError.
        """
        await self.prepare([grant])
        try:
            return self.judge(grant, expected, now)
        except KeyUnknownError:
            raise GrantRefusedError("kid", "the verifier publishes no such key") from None

    async def prepare(self, grants: Iterable[str]) -> None:
        """Have the keys at hand that these grants, or proofs of denials, name, as far as they are published.

        Waits for the verifier only if a key is missing, or if the keys are older than KEYS_OLD; from KEYS_AGE_MAX on
        they are fetched anew in the background. What is no grant by its form is passed over: judging it says so.
        Raises KeysAwayError.
        """
        missing = _key_ids(grants) - self.keys.keys()
        if missing or self._due(self._fetched_at, KEYS_OLD):
            await self._refresh_if_due()
        elif self._due(self._fetched_at, KEYS_AGE_MAX) and self._refreshing is None:
            # No group: it outlives this call, is held until it has ended, and is cancelled by `close`.
            self._refreshing = asyncio.create_task(self._refresh_if_due())  # noqa: TID251
            self._refreshing.add_done_callback(self._refreshed)
        if self._away is not None and missing - self.keys.keys():
            raise KeysAwayError(self._away)

    def want(self, grants: Iterable[str]) -> None:
        """Let `keeping_fresh` fetch keys soon if these grants name a key that is not at hand. Does not wait."""
        if _key_ids(grants) - self.keys.keys():
            self._wanted.set()

    @contextlib.asynccontextmanager
    async def keeping_fresh(self, tell: Callable[[str | None], None]) -> AsyncIterator[Self]:
        """Fetch the keys now, and then in the background: before they are old, and when one is wanted.

        Yields also if the verifier cannot be reached. `tell` is called after each try: with why the keys cannot be
        fetched while a grant waits for one, else with None.
        """
        await self._refresh_if_due()
        tell(self._trouble())
        # No group: that would wrap what the caller raises inside in an ExceptionGroup.
        task = asyncio.create_task(self._refresh_forever(tell))  # noqa: TID251
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def judge(self, grant: str, expected: Expected, now: datetime) -> Grant:
        """Judge with the keys at hand. Raises GrantRefusedError and KeyUnknownError."""
        return judge_grant(grant, expected, now, self.keys, self.realm)

    def read(self, grant: str) -> Grant:
        """Return what a grant says whose signature, issuer and audience are right, with the keys at hand.

        For whoever is handed a grant as a bearer, to find the records to `judge` it against: nothing is authorised yet.
        Raises GrantRefusedError and KeyUnknownError.
        """
        return read_grant(grant, self.keys, self.realm)

    def check_taught(self, grant: str, ce_time: datetime, expected: Expected | None = None) -> Grant:
        """Return the grant if it was in force at `ce_time`, the time of its event: for learning, never for acting.

        Retired keys count for what they signed in their time. Raises GrantRefusedError and KeyUnknownError.
        """
        return judge_taught(grant, expected, ce_time, self.keys, self.realm)

    def judge_denial(self, proof: str, expected: Expected) -> Denial:
        """Judge a denial's proof with the keys at hand. Raises GrantRefusedError and KeyUnknownError."""
        return judge_denial(proof, expected, self.keys, self.realm)

    async def fetch(self) -> Mapping[str, PublishedKey]:
        """Return the keys that the verifier publishes now, by id, without keeping them. Raises KeysAwayError."""
        return await self._fetch()

    async def close(self) -> None:
        """Close the connections to the verifier."""
        session, self._session = self._session, None
        if self._refreshing is not None:
            self._refreshing.cancel()
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _due(self, since: float | None, pause: float) -> bool:
        return since is None or self._monotonic() - since >= pause

    def _trouble(self) -> str | None:
        return self._away if self._wanted.is_set() else None

    def _refreshed(self, _task: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def _refresh_forever(self, tell: Callable[[str | None], None]) -> None:
        while True:
            pause = REFRESH_PAUSE if self._away is None else RETRY_PAUSE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEYS_AGE_MAX / 2 if self._away is None else pause):
                    await self._wanted.wait()
            await asyncio.sleep(max(0.0, (self._tried_at or 0.0) + pause - self._monotonic()))
            async with self._fetching:
                await self._refresh()
            if self._away is None:
                self._wanted.clear()  # a key that is still missing is not published: the next grant that names it asks
            tell(self._trouble())

    async def _refresh_if_due(self) -> None:
        async with self._fetching:
            if self._due(self._tried_at, REFRESH_PAUSE):
                await self._refresh()

    async def _refresh(self) -> None:
        self._tried_at = self._monotonic()
        try:
            self.keys = await self._fetch()
        except KeysAwayError as error:
            self._away = str(error)
        else:
            self._fetched_at, self._away = self._tried_at, None

    async def _fetch(self) -> dict[str, PublishedKey]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        try:
            async with self._session.get(self._url, allow_redirects=False) as reply:
                body = await whole_body(reply, _JWKS_BYTES_MAX)
                if reply.status != 200:  # noqa: PLR2004 - RFC 9110
                    raise KeysAwayError(f"{self._url}: answered {reply.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, KeysAwayError):
                raise
            raise KeysAwayError(f"{self._url}: cannot be reached ({type(error).__name__})") from error
        return published_keys(body, self._url)


class _Jwk(BaseModel):
    model_config = ConfigDict(extra="allow")

    kid: str
    kty: str
    crv: str | None = None
    active_from: AwareDatetime | None = None
    retired_at: AwareDatetime | None = None


_KEY_SET: TypeAdapter[dict[str, list[dict[str, Any]]]] = TypeAdapter(dict[str, list[dict[str, Any]]])


def published_keys(jwks: bytes, source: str) -> dict[str, PublishedKey]:
    """Read a JWK set; keys of other kinds than Ed25519 are passed over (RFC 7517, section 5). Raises KeysAwayError."""
    keys: dict[str, PublishedKey] = {}
    try:
        for entry in _KEY_SET.validate_json(jwks)["keys"]:
            jwk = _Jwk.model_validate(entry)
            if (jwk.kty, jwk.crv) == ("OKP", "Ed25519"):
                public = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": str(entry.get("x"))})
                keys[jwk.kid] = PublishedKey(
                    key_id=jwk.kid, public=public, active_from=jwk.active_from, retired_at=jwk.retired_at
                )
    except (ValidationError, JoseError, KeyError, ValueError) as error:
        raise KeysAwayError(f"{source}: answered something that is no JWK set ({type(error).__name__})") from None
    return keys


def _key_ids(grants: Iterable[str]) -> set[str]:
    return {key_id for key_id in map(_named, grants) if key_id is not None}


def _named(jws: str) -> str | None:
    for typ in (TYP, DENIAL_TYP):
        with contextlib.suppress(GrantRefusedError):
            return key_id_of(jws, typ)
    return None
