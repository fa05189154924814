"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import structlog

from tests.support.servers import Servers, origin
from tests.support.servers import servers as started_servers
from tests.support.stack import RunningStack, new_layout, starting_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_HERE = Path(__file__).parent
_WORDS = {
    "environment": "from the environment (KAFKA_BOOTSTRAP_SERVERS, POSTGRES_DSN, SNS_URL)",
    "containers": "in containers, as Docker answers",
    "processes": "as plain processes of this run: the environment names none and no Docker answers",
}


# Folders and files whose tests may run beside others. What else is run starts stacks, measures or takes servers away.
_PARALLEL = ("unit", "services", "test_architecture.py")


def _print_plain_tracebacks() -> None:
    """Let services under test log exceptions as they do in production, without the values of local variables.

    With rich installed, structlog's default prints those: a second for each record that fails.
    """
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])


def pytest_configure(config: pytest.Config) -> None:
    """Refuse several workers on servers that the environment names: they would read each other's records."""
    _print_plain_tracebacks()
    if getattr(config.option, "numprocesses", None) and origin() == "environment":
        raise pytest.UsageError("the environment names one set of servers, so the tests cannot have several workers")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what may run beside other tests. Tests on the whole stack share one with those of the browser instead."""
    fixtures = getattr(item, "fixturenames", ())
    if "stack" not in fixtures and any(item.path.is_relative_to(_HERE / name) for name in _PARALLEL):
        item.add_marker("parallel")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test configured that ran a service's program in this process: its stream is closed by the next."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which servers the run takes, and how many workers there are."""
    workers = getattr(config.option, "numprocesses", None)
    sets = f"{workers} workers, each with servers of its own" if workers else "one test at a time"
    return f"servers: {_WORDS[origin()]}\nworkers: {sets}"


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
    """Kafka, PostgreSQL and a local SNS with topics, roles and migrations; one set for the whole run of a worker."""
    async with started_servers() as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[RunningStack]:
    """Start the whole stack as `make run TLS=1` does, with its transcript; one for the whole run: leave it as it is."""
    with new_layout(tls=True) as layout, starting_stack(layout) as found:
        await found.wait_up()
        yield found
