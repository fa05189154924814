"""What every test may ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.servers import Servers, origin
from tests.support.servers import servers as started_servers
from tests.support.stack import RunningStack, new_layout, starting_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_WORDS = {
    "environment": "from the environment (KAFKA_BOOTSTRAP_SERVERS, POSTGRES_DSN, SNS_URL)",
    "containers": "in containers, as Docker answers",
    "processes": "as plain processes of this run: the environment names none and no Docker answers",
}


def pytest_report_header() -> str:
    """Say which servers the run takes."""
    return f"servers: {_WORDS[origin()]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped where nothing may be."""
    if os.environ.get("CI") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped under CI, where nothing may be: the run has failed", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a run under CI fail that skipped a test."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers() -> AsyncIterator[Servers]:
    """Kafka, PostgreSQL and a local SNS with topics, roles and migrations; one set for the whole run."""
    async with started_servers() as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[RunningStack]:
    """Start the whole stack as `make run` does, its transcript included; one for the whole run: leave it as it is."""
    with new_layout() as layout, starting_stack(layout) as found:
        await found.wait_up()
        yield found
