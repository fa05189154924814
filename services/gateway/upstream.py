"""What the gateway asks other services, with its bearer; and what it asks exports."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID

import aiohttp
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from yarl import URL

from countersign.client.calls import whole_body
from countersign.contract import base64url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from countersign.contract import Client

M = TypeVar("M", bound=BaseModel)

ANSWERED_SECONDS = 4.0
_TIMEOUT = aiohttp.ClientTimeout(total=ANSWERED_SECONDS, sock_connect=2)
# How long the whole takes is the browser's affair: the server of the pages cuts off who takes too little.
_FILE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=ANSWERED_SECONDS)
_PIECE_BYTES = 64 * 1024
_BODY_BYTES_MAX = 1024 * 1024
PAGE_ROWS = 25  # chosen: at 20 pages an hour a user can look through 500 contacts


class UpstreamAwayError(ConnectionError):
    """The service cannot be reached, is not ready, or answered what it never answers."""


class UpstreamRefusedError(Exception):
    """The service does not take our bearer, or not on this route: the settings do not fit."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ContactList(_Part):
    """A list of contacts and how many it has."""

    list_id: UUID
    name: str
    rows: int


class _Lists(_Part):
    lists: list[ContactList]


class Contact(_Part):
    """A contact as the page shows it."""

    contact_id: UUID
    email: str
    name: str


class ContactPage(_Part):
    """A page of contacts; `next` names the last one where more follow."""

    contacts: list[Contact]
    next: UUID | None = None


class Export(_Part):
    """An export as its user may see it; after its grant it is `waiting` until the file is written."""

    export_id: UUID
    list_name: str
    format: str
    rows: int
    asked_at: AwareDatetime
    state: Literal["waiting", "ready", "denied", "expired"]
    reason: str | None = None
    retry_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; its body may hold contacts."""

    status: int
    retry_after: float
    body: bytes = field(repr=False)


class Upstream:
    """Calls one service. Connections are kept; `close` ends them."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base = base_url.rstrip("/")
        # A browser that takes a file slowly holds its connection, so a limit here turns other pages into errors. The
        # service that is asked has a limit, and so has the server of the pages.
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": f"Bearer {token}"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT, connector=connector)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        answers: frozenset[int] = frozenset(),
        bearer: str | None = None,
    ) -> Reply:
        """Return the answer. Raises UpstreamAwayError; UpstreamRefusedError for 401 and 403, unless `answers` has it.

        `bearer`: a grant that is sent in the place of the service's own bearer.
        """
        headers = None if bearer is None else {"Authorization": f"Bearer {bearer}"}
        try:
            async with self._session.request(
                method,
                URL(self._base + path, encoded=True),
                params=query,
                json=body,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                raw = await whole_body(answer, _BODY_BYTES_MAX)
                status, retry_after = answer.status, answer.headers.get("Retry-After", "1")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamAwayError(f"{self._base}: {type(error).__name__}") from error
        if status >= 500:  # noqa: PLR2004 - RFC 9110, section 15.6
            raise UpstreamAwayError(f"{self._base}: answered {status}")
        if status in {401, 403} - answers:
            raise UpstreamRefusedError(f"{path.split('/')[2]}: answered {status}")
        return Reply(status, float(retry_after) if retry_after.isdigit() else 1.0, raw)

    def _read(self, model: type[M], reply: Reply) -> M:
        try:
            return model.model_validate_json(reply.body)
        except ValidationError:
            raise UpstreamAwayError(f"{self._base}: answered something unforeseen") from None


@dataclass(frozen=True, slots=True)
class File:
    """An exported file: what to call it, its size, and its content as it comes."""

    headers: Mapping[str, str]
    size: int
    pieces: AsyncGenerator[bytes, None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PagesUsed:
    """As many pages as an hour has were looked at; the next after `retry_after` seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of asking for an export."""

    outcome: Literal["taken", "no_list", "too_many", "too_large"]
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class ExportOwner:
    """Whose export it is: a user of an account, and the SHA-256 of the secret of the browser session that asked."""

    account_id: UUID
    user_id: UUID
    session: bytes = field(repr=False)

    def query(self) -> dict[str, str]:
        """Return the three as the routes of exports take them."""
        return {
            "account_id": str(self.account_id),
            "user_id": str(self.user_id),
            "session": base64url(self.session),
        }


class Exports(Upstream):
    """Asks exports, always on behalf of one user of one account; about an export, on behalf of its owner."""

    async def lists(self, account_id: UUID) -> list[ContactList]:
        """Return the account's lists."""
        reply = await self._ask("GET", f"/v1/accounts/{account_id}/lists")
        return self._read(_Lists, reply).lists if reply.status == 200 else []  # noqa: PLR2004 - RFC 9110

    async def contacts(
        self, account_id: UUID, user_id: UUID, list_id: UUID, after: UUID | None
    ) -> ContactPage | PagesUsed | None:
        """Return a page of contacts; None if the account has no such list."""
        query = {"account_id": str(account_id), "user_id": str(user_id), "limit": str(PAGE_ROWS)}
        if after is not None:
            query["after"] = str(after)
        reply = await self._ask("GET", f"/v1/lists/{list_id}/contacts", query)
        if reply.status == 429:  # noqa: PLR2004 - RFC 6585
            return PagesUsed(reply.retry_after)
        return self._read(ContactPage, reply) if reply.status == 200 else None  # noqa: PLR2004 - RFC 9110

    async def ask(self, export_id: UUID, owner: ExportOwner, list_id: UUID, file_format: str, client: Client) -> Asked:
        """Ask for an export. The same `export_id` with the same rest is the same export."""
        body = {
            **owner.query(),
            "export_id": str(export_id),
            "list_id": str(list_id),
            "format": file_format,
            "client": client.model_dump(mode="json"),
        }
        reply = await self._ask("POST", "/v1/exports", body=body)
        match reply.status:
            case 202 | 409:  # 409: asked for before with another address or language; its page shows it
                return Asked("taken")
            case 404:
                return Asked("no_list")
            case 429:
                return Asked("too_many", reply.retry_after)
            case 422:
                return Asked("too_large")
            case _:
                raise UpstreamAwayError(f"exports answered {reply.status}")

    async def export(self, export_id: UUID, owner: ExportOwner) -> Export | None:
        """Return an export that this session asked for, or None."""
        reply = await self._ask("GET", f"/v1/exports/{export_id}", owner.query())
        return self._read(Export, reply) if reply.status == 200 else None  # noqa: PLR2004 - RFC 9110

    @asynccontextmanager
    async def file(self, export_id: UUID, owner: ExportOwner) -> AsyncIterator[File | None]:
        """Open the file while it is offered to this session, else None. It is read as far as its pieces are taken.

        Raises UpstreamAwayError.
        """
        url = f"{self._base}/v1/exports/{export_id}/file"
        async with AsyncExitStack() as stack:
            try:
                asked = self._session.get(url, params=owner.query(), allow_redirects=False, timeout=_FILE_TIMEOUT)
                answer = await stack.enter_async_context(asked)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise UpstreamAwayError(f"{self._base}: {type(error).__name__}") from error
            if answer.status >= 500 or (answer.status == 200 and answer.content_length is None):  # noqa: PLR2004
                raise UpstreamAwayError(f"{self._base}: answered {answer.status}")
            if answer.status != 200 or answer.content_length is None:  # noqa: PLR2004 - RFC 9110
                yield None
                return
            headers = {name: answer.headers[name] for name in ("Content-Type", "Content-Disposition")}
            yield File(headers, answer.content_length, self._pieces(answer))

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamAwayError(f"{self._base}: {type(error).__name__}") from error
