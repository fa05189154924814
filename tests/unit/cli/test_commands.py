"""The commands as a whole: each is there under its module's name, and only the one that was asked for is loaded."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

from countersign import cli

LOADED = """
import sys
from countersign import cli
cli.main(["tail", "--help"])
print(*sorted(name for name in sys.modules if name.startswith("countersign.cli.") or "." not in name))
"""


def is_command(name: str) -> bool:
    module = import_module(f"countersign.cli.{name}")
    return hasattr(module, "HELP") and (hasattr(module, "command") or hasattr(module, "app"))


def test_every_module_of_a_command_is_listed() -> None:
    """The others are its parts, or belong to a group of commands."""
    found = {module.name for module in iter_modules(cli.__path__) if is_command(module.name)} - {"replay_shadow"}
    assert found == set(cli.COMMANDS.values())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked alone, as by everybody who knows its name."""
    assert cli.main([name, "--help"]) == 0
    assert f"Usage: countersign {name}" in capsys.readouterr().out


def test_a_command_loads_no_other() -> None:
    """`tail` begins to print sooner without what the client library and other commands need."""
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "countersign.cli.tail" in loaded
    others = {f"countersign.cli.{module}" for module in cli.COMMANDS.values()} - {"countersign.cli.tail"}
    assert loaded & (others | {"aiohttp", "joserfc", "pydantic_settings"}) == set()


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """All are known then, so that the nearest can be named."""
    assert cli.main(["tial"]) == 2
    assert "Did you mean 'tail'?" in capsys.readouterr().err
