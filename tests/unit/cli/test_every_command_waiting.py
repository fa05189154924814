"""Every command, as a process, where a server takes the connection and never answers: it ends, and so does Ctrl-C."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from countersign import cli
from countersign.runtime.program.service import main as service_main
from deploy.local.checkout import CHECKOUT
from tests.support.every_command import (
    CALLS,
    SERVICE_CALLS,
    Ground,
    every_service_command,
    laid,
    silent_port,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WITHIN_SECONDS = 45  # a quiet machine needs 20; here several begin at once
AT_ONCE = 8
INTERRUPTED = 130


def started(name: str, ground: Ground) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a terminal does. `services NAME` is one of a service."""
    group, _, rest = name.partition(" ")
    if group == "services":
        service = every_service_command()[rest]
        argv, environment = ["-m", f"services.{service.name}", rest], ground.environment(service.name)
        call = SERVICE_CALLS[rest]
    else:
        argv, environment, call = ["-m", "countersign.cli", *name.split()], ground.environment(), CALLS[name]
    return subprocess.Popen(
        [sys.executable, *argv, *ground.filled(call)],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int | None, str, str]:
    """Return exit code, output and errors; None for one that had to be killed."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return None, out, err
    return process.returncode, out, err


def faults(look: Callable[[str], str | None]) -> dict[str, str]:
    """Return what is wrong with each command that asks a server."""
    names = [name for name, call in CALLS.items() if call.asks]
    names += [f"services {name}" for name, call in SERVICE_CALLS.items() if call.asks]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(names, pool.map(look, names), strict=True))
    return {name: fault for name, fault in found.items() if fault is not None}


@pytest.mark.timeout(300)  # 40 programs, eight at once
def test_each_ends_with_a_sentence(tmp_path: Path) -> None:
    """With the exit codes of a server that is not there at all."""
    with silent_port() as (port, _):
        ground = laid(tmp_path, port)

        def look(name: str) -> str | None:
            code, out, err = ended(started(name, ground), WITHIN_SECONDS)
            told = f"{code}: {out[-300:]} {err[-600:]}"
            finds = (SERVICE_CALLS if name.startswith("services ") else CALLS)[name.removeprefix("services ")].finds
            if code is None or "Traceback" in out + err:
                return told
            if finds:
                return None if code == 1 and not err else told
            good = code in {2, 69} and err.count("\n") == 1
            return None if good and ("does not answer" in err or "did not take it" in err) else told

        assert faults(look) == {}


def interrupting(somebody: threading.Event) -> threading.Thread:
    """Press Ctrl-C once somebody has connected."""

    def press() -> None:
        if somebody.wait(WITHIN_SECONDS):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.asks])
def test_each_ends_quietly_at_ctrl_c(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """While it waits for the server: exit code 130, and nothing on standard error."""
    with silent_port() as (port, somebody):
        ground = laid(tmp_path, port)
        for key, value in ground.environment().items():
            monkeypatch.setenv(key, value)
        pressing = interrupting(somebody)
        code = cli.main([*name.split(), *ground.filled(CALLS[name])])
        pressing.join()
    gc.collect()  # what was not awaited would be told of now
    out, err = capfd.readouterr()
    assert (code, err.strip()) == (INTERRUPTED, "")
    assert "Traceback" not in out


@pytest.mark.parametrize("name", [name for name, call in SERVICE_CALLS.items() if call.asks])
def test_the_programs_of_services_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same; `run` has handlers of its own."""
    service = every_service_command()[name]
    with silent_port() as (port, somebody):
        ground = laid(tmp_path, port)
        for key, value in ground.environment(service.name).items():
            monkeypatch.setenv(key, value)
        pressing = interrupting(somebody)
        code = service_main(service, [name, *ground.filled(SERVICE_CALLS[name])])
        pressing.join()
    gc.collect()
    out, err = capfd.readouterr()
    assert (code, err.strip()) == (INTERRUPTED, "")
    assert "Traceback" not in out
