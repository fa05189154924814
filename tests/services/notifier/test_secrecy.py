"""Neither a code nor a number is anywhere but in the text: not in logs at DEBUG, tables, topics, metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import aiohttp
import pytest

from deploy.local.process import free_ports
from tests.support.kafka import eventually, read_topic
from tests.support.notifier import Neighbourhood, a_process
from tests.support.sns_stand_in import Reply, SnsStandIn

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


pytestmark = pytest.mark.servers

EVERYTHING = "SELECT string_agg(t::text, E'\\n') FROM notifier.{} t"
TABLES = ("dispatch", "dead_letter", "outbox", "brake")


def found(secrets: Iterable[str], text: str) -> list[str]:
    """Return those that stand in the text by themselves: eight digits also occur within times and hex."""
    return [s for s in secrets if re.search(rf"(?<![0-9A-Za-z.+_-]){re.escape(s)}(?![0-9A-Za-z_-])", text)]


async def _is_ready(port: int) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_codes_and_numbers_are_in_the_texts_and_nowhere_else(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """A process at DEBUG through every kind of answer; the search is tried on what must be found."""
    replies = list(Reply)
    people = [await near.person() for _ in replies]
    for person, reply in zip(people, replies, strict=True):
        sns.will_answer(person.number, reply)
    (port,) = free_ports(1)
    async with a_process(near, tmp_path, LOG_LEVEL="DEBUG", HEALTH__PORT=str(port)) as (_, log):
        await eventually(lambda: _is_ready(port), within=60)  # a text that waits for its reader for too long is late
        challenges = [near.challenge(person, life=20) for person in people]
        await near.issue(*challenges)
        await near.settled(*challenges, within=60)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            metrics = await answer.text()
    codes = [challenge.code for challenge in challenges]
    numbers = [person.number for person in people]
    digits = [number.removeprefix("+") for number in numbers]
    written = log.read_text()
    tables = [str(await near.db.fetchval(EVERYTHING.format(table))) for table in TABLES]
    topics = [
        (record.value or b"").decode(errors="replace")
        for topic in ("sms.deliveries.v1", "access.challenges.v1")
        for record in await read_topic(near.servers.kafka, topic)
    ]
    assert written.count('"text_settled"') == len(challenges)
    for place in (written, metrics, *tables, *topics):
        assert found(codes + numbers + digits, place) == []
    fingerprints = await near.db.fetch(
        "SELECT encode(fingerprint, 'hex') AS hex FROM enrolment.phone_number WHERE number_id = ANY($1)",
        [person.number_id for person in people],
    )
    assert not [row["hex"] for row in fingerprints if row["hex"] in written + metrics + "".join(topics)]


def test_the_search_finds_what_it_should() -> None:
    """Planted: after a sign, in JSON, in a text; not within a time or a longer number."""
    for planted in ("@app.example.com #12345678", '{"code":"12345678"}', "code 12345678.", "(12345678)"):
        assert found(["12345678"], planted) == ["12345678"]
    for other in ("2026-11-24T07:57:09.12345678Z", "ab12345678", "912345678", "12345678-abcd"):
        assert found(["12345678"], other) == []
    assert found(["+46701740605"], "to=+46701740605,") == ["+46701740605"]
