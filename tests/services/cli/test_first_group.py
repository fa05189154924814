"""Commands about groups on a broker that no group ever used, and on one that still loads its groups."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupLoadInProgressError

from countersign import cli
from countersign.operations.connecting import Cluster
from tests.support.servers import own_servers

pytestmark = pytest.mark.servers
LOADING = GroupLoadInProgressError.errno


async def test_lag_waits_until_the_broker_can_tell_of_groups(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first question about a group makes the broker create its topic of groups; that takes a second or two."""
    async with own_servers() as servers:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
        exit_code = await asyncio.to_thread(cli.main, ["lag", "--json"])
    said = capsys.readouterr()
    assert said.err == ""
    assert exit_code == 1  # nobody reads: no group has members
    assert {json.loads(line)["records"] for line in said.out.splitlines()} == {0}


@dataclass
class LoadingAdmin:
    """Answers about a group as a broker does that is loading its groups: an error code in each place of a group."""

    answers: list[int]
    asked: int = field(default=0)

    async def describe_consumer_groups(self, names: list[str]) -> list[Any]:
        """Return the next answer."""
        code = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        state, members = ("", []) if code else ("Stable", [("verifier-0", "client", "/127.0.0.1", b"", b"")])
        return [SimpleNamespace(groups=[(code, names[0], state, "consumer", "range", members)])]


async def test_a_group_that_is_being_loaded_is_asked_for_again() -> None:
    """Else a group with members would count as empty, and its offsets could be moved."""
    admin = LoadingAdmin([LOADING, LOADING, 0])
    group = await Cluster(admin, None).group("countersign.verifier")  # type: ignore[arg-type]
    assert (group.state, group.members, group.free) == ("Stable", 1, False)


async def test_a_group_that_stays_in_loading_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made up about it."""
    monkeypatch.setattr("countersign.operations.connecting.ANSWER_MS_MAX", 300)
    with pytest.raises(GroupLoadInProgressError):
        await Cluster(LoadingAdmin([LOADING]), None).group("countersign.verifier")  # type: ignore[arg-type]
