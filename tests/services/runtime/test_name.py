"""What a process says of its name when it starts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from countersign.runtime.settings import ServiceSettings, instance_of
from tests.support.frame import running
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers


@pytest.mark.servers
@pytest.mark.parametrize("given", ["blue-1", None])
async def test_a_start_says_the_name_and_who_gave_it(servers: Servers, given: str | None) -> None:
    """So that whoever starts a second one sees at once why the first is thrown out of the group."""
    toy = await a_toy(servers)
    fields = {name: value for name, value in toy.settings().model_dump().items() if name != "instance"}
    settings = ServiceSettings(**fields, **({"instance": given} if given else {}))
    with capture_logs() as said:
        async with running(toy.service(), settings, ready=False):
            pass
    (started,) = [line for line in said if line["event"] == "service_started"]
    name, named_by = (given, "settings") if given else (instance_of(socket.gethostname()), "host name")
    assert (started["instance"], started["instance_named_by"]) == (name, named_by)
