"""One stack's folder and ports: everything that differs between two stacks side by side."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.local.checkout import CHECKOUT, reachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
PORTS_HELD = 40
# Distance from the stack's first port.
PORTS = {
    "gateway": 0,
    "verifier": 1,
    "enrolment": 2,
    "exports": 3,
    "console": 10,
    "gateway health": 11,
    "verifier health": 12,
    "enrolment health": 13,
    "exports health": 14,
    "risk_evaluator health": 15,
    "notifier health": 16,
    "kafka": 20,
    "kafka controller": 21,
    "sns": 22,
    "postgres": 23,
}


SERVICES = ("gateway", "exports", "enrolment", "risk_evaluator", "verifier", "notifier")


class UnfitError(Exception):
    """The stack cannot start here; the text is one sentence with what helps."""


@dataclass(frozen=True)
class Layout:
    """Where one stack lives, whether its Kafka asks who comes and for rights, and whether over TLS."""

    data: Path
    first_port: int
    guarded: bool = True
    tls: bool = False

    def port(self, name: str) -> int:
        """Return the port of a server, a service's routes, or `<service> health`."""
        return self.first_port + PORTS[name]

    def url(self, name: str) -> str:
        """Return the address of what listens there."""
        return f"http://{HOST}:{self.port(name)}"

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port('kafka')}"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def certificates(self) -> Path:
        return self.data / "certificates"

    @property
    def seed(self) -> Path:
        return self.data / "seed.json"

    @property
    def stack_env(self) -> Path:
        return self.data / "stack.env"

    @property
    def postgres(self) -> Path:
        """The folder of PostgreSQL's data, elsewhere if its user could not reach it here."""
        return reachable(self.data / "postgres")


def from_environment() -> Layout:
    """Return the layout that `DATA`, `PORTS` and `TLS` name. Raises UnfitError."""
    data = CHECKOUT / os.environ.get("DATA", ".local")
    written = os.environ.get("PORTS", "8080")
    last = 65_536 - PORTS_HELD
    if not written.isdecimal() or not 1024 <= int(written) <= last:  # noqa: PLR2004 - below are the system's own ports
        raise UnfitError(
            f"PORTS={written} is not the first of {PORTS_HELD} ports: make run PORTS=9080 (1024 to {last})."
        )
    return Layout(data.resolve(), int(written), tls=os.environ.get("TLS", "") not in {"", "0"})


def refuse_taken_ports(layout: Layout, names: list[str]) -> None:
    """Raise UnfitError if somebody listens where this stack would."""
    for name in names:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was left a moment ago is free
            try:
                probe.bind((HOST, layout.port(name)))
            except OSError:
                other = layout.first_port + 1000
                raise UnfitError(
                    f"Port {layout.port(name)} (for {name}) is in use: end what uses it, or take others with "
                    f"make run PORTS={other if other < 65_000 else 9080} DATA=.local-2."  # noqa: PLR2004 - room for 40
                ) from None


def closed_folder(folder: Path) -> Path:
    """Make a folder, or close one that an earlier version made, so that only its owner can look into it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        folder.chmod(0o700)
    return folder


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Hold the data folder for one stack. Raises UnfitError if another stack holds it."""
    layout.data.mkdir(parents=True, exist_ok=True)
    (layout.data / "lock").touch(mode=0o600)
    with (layout.data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UnfitError(
                f"A stack runs with {layout.data} already (process {lock.read().strip() or 'unknown'}): "
                "end it with Ctrl-C, or choose another folder with DATA=."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
