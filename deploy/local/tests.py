"""`make test`: pytest over everything, in two parts; `make faults`: faults, histories, the simulator, all at length.

The first part runs unit and service tests in two workers, each with servers of its own. The second part runs the rest
one by one: those tests start whole stacks, measure, or take servers away.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from deploy.local import stack_env
from deploy.local.checkout import CHECKOUT
from deploy.local.layout import from_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

WORKERS = 2  # as many as the smallest machine that runs the tests has cores
NAMED_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "SNS_URL")

_FAULTS = "faults"  # beside paths of tests
_SLOWEST = "--durations=10"
_SECRETS = "SECRETS_DIR"
_INTERRUPTED = 2  # pytest's exit code


def main(wanted: list[str]) -> None:
    """Run everything in two parts, or become pytest for some paths: on the servers of `make stack`, if they run."""
    if wanted == ["tests"]:
        sys.exit(exit_code([_run(part) for part in parts()]))
    if wanted == [_FAULTS]:
        _become_pytest("tests/faults", "tests/histories", "tests/sim")
    if "SNS_URL" not in os.environ:
        env = stack_env.read(from_environment().stack_env) or {}
        if env and "GATEWAY_URL" not in env:  # a whole stack's services would take the tests' records
            os.environ.update({name: env[name] for name in (*NAMED_SERVERS, _SECRETS)})
    _become_pytest("-m", "not faults_whole", *wanted)


def _become_pytest(*arguments: str) -> NoReturn:
    os.execv(sys.executable, [*_pytest(), *arguments])  # noqa: S606 - the point of this program


def _pytest() -> list[str]:
    return [sys.executable, "-m", "pytest", _SLOWEST]


def parts() -> Sequence[Sequence[str]]:
    """Return the arguments of both parts. A test has the mark `parallel` or not, so each is in exactly one part."""
    # What is quick and pure first: later it would hold up the event loop of services that a worker runs for its tests.
    return (
        (*_workers(), "-m", "parallel and not faults_whole", *_in_order()),
        ("-m", "not parallel and not faults_whole", *_in_order()),
    )


def _workers() -> Sequence[str]:
    """Return how to run two workers: none if the environment names the servers, as they would have to share them."""
    if all(os.environ.get(name) for name in NAMED_SERVERS):
        return ()
    return ("--numprocesses", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")


def exit_code(codes: Sequence[int]) -> int:
    """Return the first exit code that is not 0. A part without a single test (pytest's code 5) has failed as well."""
    return next((code for code in codes if code != 0), 0)


def _run(arguments: Sequence[str]) -> int:
    """Run pytest to its end and return its exit code. Exits if the run was interrupted: then no other part follows."""
    pytest = subprocess.Popen([*_pytest(), *arguments], cwd=CHECKOUT)
    interrupted = False

    def pass_on(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        if number != signal.SIGINT:  # a terminal sends that one to pytest as well
            pytest.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    code = pytest.wait()  # pytest ends its servers before it ends
    if interrupted or code == _INTERRUPTED:
        sys.exit(code if code > 0 else _INTERRUPTED)
    return code if code >= 0 else 128 - code


def _in_order() -> list[str]:
    folder = CHECKOUT / "tests"
    first = [path for path in (folder / "test_architecture.py", folder / "unit") if path.exists()]
    holding = {path.relative_to(folder).parts[0] for path in folder.rglob("test_*.py")}
    rest = [folder / name for name in sorted(holding) if folder / name not in first]
    return [str(path.relative_to(CHECKOUT)) for path in (*first, *rest)]


if __name__ == "__main__":
    main(sys.argv[1:] or ["tests"])
