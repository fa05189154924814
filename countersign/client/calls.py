"""Calling the verifier over HTTP: one connection pool, a bearer, and failures in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy

_ANSWERED_IN_SECONDS = 10.0
_TIMEOUT = aiohttp.ClientTimeout(total=_ANSWERED_IN_SECONDS, sock_connect=2)
_BODY_BYTES_MAX = 256 * 1024


class VerifierAwayError(ConnectionError):
    """The verifier cannot be reached, is not ready, or answered what no verifier answers. Nobody is let in."""


class CallRefusedError(Exception):
    """The verifier does not take this call: wrong bearer (401), not this caller's route (403), a bug (other 4xx)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Its body may hold a grant, so it has no repr."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = field(repr=False)

    def retry_after(self) -> float:
        """Return Retry-After in seconds; 1 where there is none (RFC 9110, section 10.2.3)."""
        try:
            return max(float(self.headers.get("Retry-After", "1")), 0.0)
        except ValueError:
            return 1.0


class _Problem(BaseModel):
    """The part of a problem document (RFC 9457) that is told on."""

    title: str = ""
    detail: str = ""


class Caller:
    """Calls one base address with one bearer. Connections are kept; `close` ends them.

    A verifier that has not answered a call after `answered_in_seconds` is away.
    """

    def __init__(self, base_url: str, token: str, *, answered_in_seconds: float = _ANSWERED_IN_SECONDS) -> None:
        self._answered_in_seconds = answered_in_seconds
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the verifier."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Reply:
        """Return the answer unless it is a failure of the verifier or of the caller. Redirects are not followed."""
        if self._session is None:
            # A wait holds its connection, so a limit here turns further waits into errors. The verifier has a limit.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT, connector=connector)
        total = self._answered_in_seconds if seconds is None else seconds
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=2)
        url = self._base_url + path
        try:
            async with self._session.request(
                method, url, params=query, json=body, timeout=timeout, allow_redirects=False
            ) as answer:
                reply = Reply(answer.status, answer.headers, await whole_body(answer, _BODY_BYTES_MAX))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise VerifierAwayError(f"{self._base_url}: cannot be reached ({type(error).__name__})") from error
        if reply.status >= 500:  # noqa: PLR2004 - RFC 9110, section 15.6
            raise VerifierAwayError(f"{self._base_url}: answered {reply.status}")
        if reply.status in {400, 401, 403, 405, 413, 415}:
            raise CallRefusedError(reply.status, _detail(reply.body))
        return reply


async def whole_body(answer: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Return the body, which may come in many pieces. Raises ClientPayloadError beyond `bytes_max`."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > bytes_max:
            raise aiohttp.ClientPayloadError(f"a body of more than {bytes_max} bytes")
    return bytes(body)


def unforeseen(reply: Reply, path: str) -> VerifierAwayError:
    """Return the failure of an answer that the contract does not know."""
    return VerifierAwayError(f"{path}: the verifier answered {reply.status} with something unforeseen")


def _detail(body: bytes) -> str:
    try:
        problem = _Problem.model_validate_json(body)
    except ValidationError:
        return "no reason given"
    return problem.detail or problem.title or "no reason given"
