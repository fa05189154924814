"""Bring what the stack needs and hand over to it. Only the standard library: nothing is installed yet.

Usage: `python -m deploy.local.bootstrap local|dev ARGUMENT...`; the arguments go to the virtual environment's Python.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from deploy.local import needs, promtool
from deploy.local.checkout import CHECKOUT, virtual_environment
from deploy.local.jars import fetch_jars, jars_are_there

_STAMP = "countersign-lock"


def main(what: str, arguments: list[str]) -> None:
    """Bring everything for `what`, then become the virtual environment's Python."""
    os.umask(0o022)  # PostgreSQL's user must be able to read what is installed
    os.chdir(CHECKOUT)
    began = time.monotonic()
    for needed in (needs.python_venv(), needs.java(), needs.maven(), needs.chromium() if what == "dev" else None):
        if needed is not None:
            needs.install_or_refuse(*needed)
    if what == "dev":
        promtool.bring()
    jars = _Fetch()
    jars.start()
    python = _environment(what)
    put_program_beside(python)
    jars.finish()
    if (took := time.monotonic() - began) > 2:  # noqa: PLR2004 - shorter is not worth a line
        _say(f"Everything needed is here ({took:.0f} s).")
    sys.stdout.flush()
    os.execv(python, [str(python), *arguments])  # noqa: S606 - the point of this program


class _Fetch(threading.Thread):
    """Kafka's jars come while pip installs."""

    error: Exception | None = None

    def run(self) -> None:
        if not jars_are_there():
            _say("Bringing Kafka 4.3 with Maven ...")
        try:
            fetch_jars()
        except (OSError, RuntimeError) as error:
            self.error = error

    def finish(self) -> None:
        self.join()
        if self.error is not None:
            raise SystemExit(str(self.error))


def _environment(what: str) -> Path:
    """Return the Python of the virtual environment, with what the lock lists installed."""
    folder = virtual_environment()
    python = folder / "bin" / "python"
    lock = CHECKOUT / f"requirements-{what}.lock"
    stamp = folder / _STAMP
    # The development lock holds all of the local one, so an environment made for tests runs the stack too.
    fitting = {_digest(CHECKOUT / f"requirements-{name}.lock") for name in {what, "dev"}}
    if python.exists() and stamp.exists() and stamp.read_text() in fitting:
        return python
    if folder != CHECKOUT / ".venv":
        _say(f"The checkout lies below a closed folder, so the virtual environment goes to {folder}.")
    if not python.exists():
        _say(f"Making a virtual environment in {folder} ...")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    _say(f"Installing {lock.name} into it ...")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    # What is imported is compiled then; compiling everything beforehand takes longer than the rest of the start.
    done = subprocess.run([*pip, "--require-hashes", "--no-deps", "--no-compile", "-r", str(lock)], check=False)
    if done.returncode != 0:
        raise SystemExit(f"{lock.name} could not be installed (pip says why above): check the network and try again.")
    _put_checkout_on_path(python)
    stamp.write_text(_digest(lock))
    return python


def _put_checkout_on_path(python: Path) -> None:
    """Let `countersign` and `services` be imported from anywhere, without building a package."""
    argv = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    (Path(site) / "countersign-checkout.pth").write_text(f"{CHECKOUT}\n")


def put_program_beside(python: Path) -> Path:
    """Put `countersign` on the path of a virtual environment, as installing the package would; return where it is."""
    program = python.with_name("countersign")
    script = '#!/bin/sh\nexec "$(dirname "$0")/python" -m countersign.cli "$@"\n'
    if not program.exists() or program.read_text("utf-8") != script:
        program.write_text(script, "utf-8")
        program.chmod(0o755)
    return program


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)  # as shells say of a program that Ctrl-C ended
