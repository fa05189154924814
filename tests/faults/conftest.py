"""Figures of fault tests, printed at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.matrix import HEADER, Figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.terminal import TerminalReporter

_TAKEN = pytest.StashKey[list[Figures]]()
_SAID = pytest.StashKey[list[str]]()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str], Figures]:
    """Return a row of the table for a name."""

    def row(name: str) -> Figures:
        made = Figures(name)
        request.config.stash.setdefault(_TAKEN, []).append(made)
        return made

    return row


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what takes a line with figures for the end of the run."""
    return request.config.stash.setdefault(_SAID, []).append


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the table, if there is one."""
    taken = terminalreporter.config.stash.get(_TAKEN, [])
    if taken:
        terminalreporter.section("crashes")
        terminalreporter.write_line(HEADER)
        for one in taken:
            terminalreporter.write_line(one.row())
    said = terminalreporter.config.stash.get(_SAID, [])
    if said:
        terminalreporter.section("figures")
        for line in said:
            terminalreporter.write_line(line)
