"""`make test`: pytest over everything, what is quick first; `make faults`: faults and histories, the long ones too."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from deploy.local import stack_env
from deploy.local.checkout import CHECKOUT
from deploy.local.layout import from_environment

_FAULTS = "faults"  # beside paths of tests
_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "SNS_URL", "SECRETS_DIR")


def main(wanted: list[str]) -> None:
    """Become pytest. A part of the tests takes the servers of `make stack`, if they are up."""
    if wanted == [_FAULTS]:
        _become_pytest("tests/faults", "tests/histories")
    whole = wanted == ["tests"]
    if not whole and "SNS_URL" not in os.environ:
        env = stack_env.read(from_environment().stack_env) or {}
        if env and "GATEWAY_URL" not in env:  # a whole stack's services would take the tests' records
            os.environ.update({name: env[name] for name in _SERVERS})
    paths = _in_order() if whole else wanted
    _become_pytest("-m", "not faults_whole", *paths)


def _become_pytest(*arguments: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606 - the point of this program


def _in_order() -> list[str]:
    folder = CHECKOUT / "tests"
    first = [path for path in (folder / "test_architecture.py", folder / "unit") if path.exists()]
    holding = {path.relative_to(folder).parts[0] for path in folder.rglob("test_*.py")}
    rest = [folder / name for name in sorted(holding) if folder / name not in first]
    return [str(path.relative_to(CHECKOUT)) for path in (*first, *rest)]


if __name__ == "__main__":
    main(sys.argv[1:] or ["tests"])
