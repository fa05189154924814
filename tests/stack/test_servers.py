"""The servers that tests stand on: real ones, laid as the product needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import aioboto3
import aiohttp
import asyncpg
import pytest

from deploy.local.postgres import ROLES
from deploy.local.topics import topics
from tests.support.kafka import publish_raw, read_topic

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def test_a_record_is_read_back_as_it_was_written(servers: Servers) -> None:
    """Through a topic of ours, headers and key included."""
    key = uuid4().bytes
    written = await publish_raw(servers.kafka, "access.requests.v1", key, b"{}", [("ce_type", b"none")])
    read = [record for record in await read_topic(servers.kafka, "access.requests.v1") if record.key == key]
    assert read == [written]


async def test_all_topics_are_there(servers: Servers) -> None:
    """Each topic's file made a topic that can be read."""
    for topic in topics():
        await read_topic(servers.kafka, topic.name)


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_lives_in_its_own_schema(servers: Servers, role: str) -> None:
    """It makes tables there and nowhere else."""
    connection = await asyncpg.connect(servers.dsn_of(role))
    try:
        assert await connection.fetchval("SELECT current_user || '.' || current_schema()") == f"{role}.{role}"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.t ()")
        other = next(name for name in ROLES if name != role)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"CREATE TABLE {other}.t ()")
    finally:
        await connection.close()


async def test_a_text_is_shown_by_the_local_sns(servers: Servers) -> None:
    """Its list of texts is where tests and the phone page read."""
    message = f"a text {uuid4()}"
    session = aioboto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    async with session.client("sns", endpoint_url=servers.sns_url) as sns:
        await sns.publish(PhoneNumber="+61491570006", Message=message)
    async with aiohttp.ClientSession() as http, http.get(f"{servers.sns_url}/moto-api/data.json") as answer:
        texts = (await answer.json(content_type=None))["sns"]["SMS"]
    assert [text["phone_number"] for text in texts if text["message"] == message] == ["+61491570006"]
