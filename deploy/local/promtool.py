"""Prometheus' own tool for alert rules, for the tests: the machine's, or Debian's package unpacked beside the jars.

Only the standard library: the bootstrap starts this early. The package is not installed, as that would start a server.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.local.checkout import CHECKOUT

_PACKAGE = "prometheus"
_FOLDER = CHECKOUT / ".local" / "promtool"
_OURS = _FOLDER / "promtool"
_MISSING = "promtool is missing, with which the tests play the alert rules"


def promtool() -> Path:
    """Return it. Raises RuntimeError if neither the machine has it nor `bring` has brought it."""
    found = shutil.which("promtool")
    if found is not None:
        return Path(found)
    if _OURS.exists():
        return _OURS
    raise RuntimeError(f"{_MISSING}: `make test` brings it; or install Prometheus so that `promtool` is on the path.")


def bring() -> None:
    """Unpack it from Debian's package unless it is there. Raises SystemExit where that cannot be done."""
    if shutil.which("promtool") is not None or _OURS.exists():
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SystemExit(f"{_MISSING}: install Prometheus so that `promtool` is on the path.")
    print(f"{_MISSING}: unpacking it from the package {_PACKAGE} ...", flush=True)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of one checkout may start at once
        if not _OURS.exists():
            _unpack()


def _unpack() -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as written:
        folder = Path(written)
        if os.geteuid() == 0:
            _run(["apt-get", "update", "-qq"], folder)
        _run(["apt-get", "download", "-qq", _PACKAGE], folder)
        for package in folder.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(package), str(folder / "unpacked")], folder)
        (folder / "unpacked" / "usr" / "bin" / "promtool").rename(_OURS)


def _run(argv: list[str], folder: Path) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        raise SystemExit(f"{_MISSING}, and `{' '.join(argv)}` failed:\n{done.stderr[-2000:]}")
