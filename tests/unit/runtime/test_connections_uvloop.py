"""Connections on the loop that services run on: tests run on asyncio's, and uvloop's transports are other classes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.unit.runtime import test_connections as scenarios

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@pytest.mark.parametrize(
    "scenario",
    [
        lambda patch: scenarios.test_half_open_connections_end("port", patch),
        scenarios.test_an_idle_connection_ends_and_a_used_one_stays,
        lambda patch: scenarios.test_after_a_late_body_the_connection_is_closed(b"", patch),
        scenarios.test_a_client_that_does_not_take_its_answer_is_let_go,
        lambda _: scenarios.test_an_address_has_a_cap_and_newcomers_get_in(),
        lambda _: scenarios.test_a_wait_ends_with_its_connection(),
        lambda _: scenarios.test_our_own_words_for_what_cannot_be_read("port", b"NONSENSE s3cr3t\r\n\r\n", 400),
    ],
    ids=["half_open", "idle", "late_body", "stalled", "cap", "wait", "words"],
)
def test_it_is_the_same_on_uvloop(
    scenario: Callable[[pytest.MonkeyPatch], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread, as this one has a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: uvloop.run(scenario(monkeypatch))).result(timeout=60)
