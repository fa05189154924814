"""What the machine must have, and the command that brings it. Only the standard library, as in the bootstrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from deploy.local.jars import jars_are_there

_JAVA_MIN = 17  # Kafka 4 runs on nothing older

# Each finding is: what is missing, in words, and the Debian packages that bring it.
Needed = tuple[str, list[str]]


def python_venv() -> Needed | None:
    probe = subprocess.run([sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True)
    if probe.returncode == 0:
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"Python {version} has no venv module", [f"python{version}-venv"]


def java() -> Needed | None:
    packages = ["default-jre-headless"]
    if shutil.which("java") is None:
        return f"Java {_JAVA_MIN} or newer is missing, which Kafka runs on", packages
    said = subprocess.run(["java", "-version"], check=False, capture_output=True, text=True)
    found = re.search(r'version "(\d+)', said.stderr + said.stdout)
    if found is not None and int(found[1]) >= _JAVA_MIN:
        return None
    return f"Java {_JAVA_MIN} or newer is needed, and `java` is {found[1] if found else 'something else'}", packages


def maven() -> Needed | None:
    if jars_are_there() or shutil.which("mvn") is not None:
        return None
    return "Maven is missing, which brings Kafka", ["maven"]


def chromium() -> Needed | None:
    if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        return None
    return "Chromium is missing, which the tests drive", ["chromium"]


def install_or_refuse(missing: str, packages: list[str]) -> None:
    """As root on Debian or Ubuntu install it; else end with one sentence that has the command that helps."""
    command = f"apt-get install -y {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"{missing}: sudo {command}")
    print(f"{missing}: installing {' '.join(packages)} ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{missing}, and `{command}` failed:\n{done.stderr[-2000:]}")
