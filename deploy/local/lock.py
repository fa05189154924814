"""`make lock`: the hashed lock files anew from pyproject.toml, naming no index. Needs uv, which is no part of them."""

from __future__ import annotations

import shutil
import subprocess
import sys

from deploy.local.checkout import CHECKOUT

_TOOLS = CHECKOUT / ".local" / "lock-tools"
_FLAGS = ("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", "--quiet")
_DEV = "requirements-dev.lock"
_OTHERS = {"requirements-local.lock": ("--extra", "local"), "requirements.lock": ()}


def main() -> None:
    """Resolve everything once, then cut the smaller files out of it, so that all agree."""
    uv = _uv()
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv else []
    _compile(uv, _DEV, "--extra", "dev", *upgrade)
    for name, extras in _OTHERS.items():
        _compile(uv, name, *extras, "--constraint", _DEV)


def _compile(uv: str, name: str, *arguments: str) -> None:
    argv = [uv, "pip", "compile", "pyproject.toml", *_FLAGS, *arguments, "--output-file", name]
    subprocess.run(argv, check=True, cwd=CHECKOUT)
    print(f"{name} is made", flush=True)


def _uv() -> str:
    if found := shutil.which("uv"):
        return found
    python = _TOOLS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_TOOLS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "uv"], check=True)
    return str(_TOOLS / "bin" / "uv")


if __name__ == "__main__":
    main()
