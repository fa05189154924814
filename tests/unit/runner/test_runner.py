"""`make test` runs every test in exactly one of its parts, and no part passes that skipped a test or had none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.local import tests as runner
from deploy.local.checkout import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

_ONE_WORKER, _TWO_WORKERS = (), ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")
_SKIPS = "import pytest\ndef test_passes(): pass\ndef test_skips(): pytest.skip('a reason')\n"


def _pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a test file in a folder of its own under the hooks of tests/conftest.py."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    parallel: as in ours\n")
    inherited = {name: value for name, value in os.environ.items() if name not in {"CI", *runner.NAMED_SERVERS}}
    inherited = {name: value for name, value in inherited.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", f"--rootdir={folder}", *arguments, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=inherited | {"PYTHONPATH": str(CHECKOUT)} | environment,
    )


@pytest.mark.parametrize("workers", [_ONE_WORKER, _TWO_WORKERS])
@pytest.mark.parametrize(("environment", "code"), [({}, 0), ({"CI": "true"}, 1)])
def test_a_skipped_test_fails_a_run_under_ci(
    tmp_path: Path, workers: tuple[str, ...], environment: dict[str, str], code: int
) -> None:
    """With one worker and with two, and only under CI."""
    (tmp_path / "test_skips.py").write_text(_SKIPS)
    run = _pytest(tmp_path, *workers, **environment)
    assert run.returncode == code, run.stdout + run.stderr
    assert ("skipped under CI" in run.stdout) == bool(code)
    assert "1 passed, 1 skipped" in run.stdout


@pytest.mark.parametrize("workers", [_ONE_WORKER, _TWO_WORKERS])
def test_a_file_that_is_skipped_as_a_whole_fails_a_run_under_ci(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """A worker reports what it did not collect."""
    (tmp_path / "test_skips.py").write_text("import pytest\npytest.skip('a reason', allow_module_level=True)\n")
    (tmp_path / "test_passes.py").write_text("def test_passes(): pass\n")
    run = _pytest(tmp_path, *workers, CI="true")
    assert run.returncode == 1, run.stdout + run.stderr


def test_several_workers_are_refused_on_servers_of_the_environment(tmp_path: Path) -> None:
    """They would read each other's records."""
    (tmp_path / "test_passes.py").write_text("def test_passes(): pass\n")
    run = _pytest(tmp_path, *_TWO_WORKERS, **dict.fromkeys(runner.NAMED_SERVERS, "somewhere"))
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot have several workers" in run.stderr


@pytest.mark.parametrize(("named", "workers"), [(False, True), (True, False)])
def test_the_first_part_has_two_workers_unless_the_environment_names_the_servers(
    monkeypatch: pytest.MonkeyPatch, named: bool, workers: bool
) -> None:
    """The second part never has."""
    for name in runner.NAMED_SERVERS:
        monkeypatch.delenv(name, raising=False)
        if named:
            monkeypatch.setenv(name, "somewhere")
    first, second = runner.parts()
    assert ("--numprocesses" in first) == workers
    assert "--numprocesses" not in second


def test_the_parts_leave_no_test_out_and_run_none_twice() -> None:
    """They differ in one mark, and both look into every folder that holds tests."""
    first, second = ([str(argument) for argument in part] for part in runner.parts())
    assert first[first.index("-m") + 1] == "parallel and not faults_whole"
    assert second[second.index("-m") + 1] == "not parallel and not faults_whole"
    assert sorted(first[first.index("-m") + 2 :]) == sorted(second[second.index("-m") + 2 :])
    paths = [CHECKOUT / path for path in second[second.index("-m") + 2 :]]
    files = list((CHECKOUT / "tests").rglob("test_*.py"))
    assert [file for file in files if not any(file.is_relative_to(path) for path in paths)] == []


@pytest.mark.parametrize(("codes", "code"), [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((0, 5), 5), ((5, 0), 5)])
def test_the_run_fails_if_a_part_failed_or_had_no_test(codes: tuple[int, int], code: int) -> None:
    """Code 5 is pytest's word for no tests."""
    assert runner.exit_code(codes) == code
