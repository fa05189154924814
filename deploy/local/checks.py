"""`make check`: format, lint, types, architecture. All are run, also after one failed."""

from __future__ import annotations

import subprocess
import sys

_CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("pytest", "-q", "tests/test_architecture.py"),
)


def main() -> int:
    """Return 0 if all checks passed."""
    failed = []
    for check in _CHECKS:
        print(f"$ {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check], check=False).returncode != 0:
            failed.append(" ".join(check))
    print(f"failed: {'; '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
