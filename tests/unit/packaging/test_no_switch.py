"""Checkpoints are for the wiring of tests: nothing that is shipped can be made to stop at one."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
from pydantic import BaseModel

from countersign.runtime.checkpoint import nothing
from countersign.runtime.program.service import main, serving
from deploy.local.checkout import CHECKOUT
from deploy.local.layout import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = [path for folder in ("countersign", "services") for path in sorted((CHECKOUT / folder).rglob("*.py"))]


def service_of(name: str) -> Any:
    return import_module(f"services.{name}.wiring").SERVICE


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "arguments",
    [["run", "--at", "committed"], ["--at", "committed"], ["run", "--checkpoint=committed"], ["run", "committed"]],
)
def test_no_argument_names_a_point(service: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The command line of every service takes its commands and nothing else: it does not start."""
    with pytest.raises(SystemExit) as ended:
        main(service_of(service), arguments)
    assert ended.value.code == 2
    assert "usage: python -m services." in capsys.readouterr().err


@pytest.mark.parametrize("service", SERVICES)
def test_no_setting_names_a_point(service: str) -> None:
    """Settings are the only thing that a service is told, by environment or file, and none is about checkpoints."""
    names = set(_settings(service_of(service).settings))
    assert "kafka.bootstrap_servers" in names
    about = ("checkpoint", "crash", "kill", "signal", "trap")
    assert not [name for name in names if any(word in name.replace("bootstrap", "") for word in about)]


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{prefix}{name}.")


def test_a_shipped_start_passes_nothing() -> None:
    """Only `serving` takes a checkpoint: by default one that does nothing, and nobody shipped gives it another."""
    assert inspect.signature(serving).parameters["checkpoint"].default is nothing
    calls = [call for path in SHIPPED for call in _calls(path, "serving")]
    assert calls, "`serving` is started by the command line of every service"
    for call in calls:
        given = {keyword.arg for keyword in call.keywords}
        assert given <= {"log"}, "a checkpoint, or ** that may hold one"
        assert len(call.args) == 2


def _calls(path: Path, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Build the wheel as a release does, and open it."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_carries_no_tests(wheel: ZipFile) -> None:
    """What sends signals at a checkpoint lies in tests/support, and that is not shipped; nor is the local stack."""
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"countersign", "services"}
    names = set(wheel.namelist())
    assert "services/verifier/wiring.py" in names
    assert "services/verifier/migrations/0001_verifier.sql" in names
    assert not [name for name in names if "test" in Path(name).name or "crashing" in name]


def test_the_wheel_alone_has_no_trap(wheel: ZipFile, tmp_path: Path) -> None:
    """With the wheel on the path and not the checkout there is no program that takes a point; services refuse one."""
    wheel.extractall(tmp_path)
    trap = _run(tmp_path, "tests.support.crashing", "verifier", "--at", "fetched")
    assert "No module named" in trap.stderr
    refused = _run(tmp_path, "services.verifier", "run", "--at", "fetched")
    assert refused.returncode == 2
    assert "unrecognized arguments" in refused.stderr


_ALONE = """
import runpy, sys
sys.path[:0] = sys.argv.pop(1).split(":")
sys.argv.pop(0)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def _run(installed: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a module with the dependencies and what is installed there; -S passes over the checkout's .pth file."""
    path = f"{installed}:{sysconfig.get_path('purelib')}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-S", "-P", "-c", _ALONE, path, *argv],
        cwd=installed,
        env=environment | {"COUNTERSIGN_CHECKPOINT": "fetched"},
        check=False,
        capture_output=True,
        text=True,
    )
