"""Kafka's jars, brought by Maven once a checkout. Only the standard library: the bootstrap starts this early."""

from __future__ import annotations

import fcntl
import subprocess
from typing import TYPE_CHECKING

from deploy.local.checkout import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

JARS = CHECKOUT / ".local" / "jars"  # beside every data folder
_POM = CHECKOUT / "deploy" / "local" / "pom.xml"
_STAMP = JARS / "pom.xml"


def jars_are_there() -> bool:
    """Whether the jars of this very pom.xml were brought before."""
    return _STAMP.exists() and _STAMP.read_bytes() == _POM.read_bytes()


def fetch_jars() -> Path:
    """Bring the jars unless they are there. Raises RuntimeError with Maven's words."""
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two stacks of one checkout may start at once
        if jars_are_there():
            return JARS
        for old in JARS.glob("*.jar"):
            old.unlink()
        argv = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"Maven could not bring Kafka's jars:\n{done.stdout[-2000:]}")
        _STAMP.write_bytes(_POM.read_bytes())
    return JARS
