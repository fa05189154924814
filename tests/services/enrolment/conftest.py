"""Enrolment's folds on its own database role, and the service itself on real servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp
import pytest_asyncio

from countersign.client import Grants
from countersign.runtime.database.postgres import Link
from deploy.local.process import free_ports
from deploy.local.secret_files import ROUTES
from services.enrolment.wiring import SERVICE
from tests.support.enrolment import Desk, settings_of
from tests.support.frame import running
from tests.support.grants import KeySite, Signer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

GATEWAY = ROUTES["enrolment"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def signer() -> Signer:
    """Return what is the verifier's key in these tests."""
    return Signer()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def key_site(signer: Signer) -> AsyncIterator[KeySite]:
    """Where its public half is published."""
    async with KeySite(signer.jwk()) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def desk(servers: Servers, key_site: KeySite, signer: Signer) -> AsyncIterator[Desk]:
    """Lend the folds, on a connection of their own."""
    link = Link(servers.dsn_of("enrolment"), "enrolment")
    async with Grants(key_site.url) as grants, grants.keeping_fresh(lambda _trouble: None), link.use() as db:
        yield Desk(db, grants, signer)
    await link.close()


@dataclass(frozen=True)
class Calls:
    """The service's routes as the gateway calls them; `stranger` is a caller who may read accounts and no more."""

    url: str
    gateway: dict[str, str]
    stranger: dict[str, str]
    session: aiohttp.ClientSession


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def calls(servers: Servers, key_site: KeySite) -> AsyncIterator[Calls]:
    """Run the service; its folds fold whatever lies on its topics."""
    tokens = [str(uuid4()) + str(uuid4()) for _ in range(2)]
    callers = [
        {"name": "gateway", "token": tokens[0], "routes": list(GATEWAY)},
        {"name": "stranger", "token": tokens[1], "routes": ["accounts.read"]},
    ]
    port = free_ports(1)[0]
    settings = settings_of(servers, jwks_url=key_site.url, http={"port": port, "callers": callers})
    bearers = [{"Authorization": f"Bearer {token}"} for token in tokens]
    async with running(SERVICE, settings), aiohttp.ClientSession() as session:
        yield Calls(f"http://127.0.0.1:{port}", bearers[0], bearers[1], session)
