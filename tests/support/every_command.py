"""Every command of `countersign` and of the services' programs, found by walking them, and how each is called."""

from __future__ import annotations

import argparse
import json
import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from countersign import cli
from countersign.clock import system_clock
from countersign.contract.topic_files import schemas_folder
from countersign.runtime.program.arguments import parser_of
from countersign.runtime.replay.plan import Asked, Found, Plan
from deploy.local import programs, secret_files, stack_env
from deploy.local.layout import SERVICES, Layout
from deploy.local.programs import POLICY
from services.enrolment.wiring import SERVICE as ENROLMENT
from services.exports.wiring import SERVICE as EXPORTS
from services.gateway.wiring import SERVICE as GATEWAY
from services.notifier.wiring import SERVICE as NOTIFIER
from services.risk_evaluator.wiring import SERVICE as RISK_EVALUATOR
from services.verifier.wiring import SERVICE as VERIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from countersign.runtime.program.frame import Service

ALL_SERVICES: tuple[Service[Any], ...] = (VERIFIER, RISK_EVALUATOR, ENROLMENT, EXPORTS, GATEWAY, NOTIFIER)
LOGIN = schemas_folder() / "examples" / "countersign.access.requested.v1" / "login.json"
UNKNOWN = "019cadf4-6e80-7c01-8000-000000000001"
WHY = ("--reason", "a test")


@dataclass(frozen=True)
class Call:
    """How a command is called with nothing wrong: words in braces are filled in from a `Ground`.

    `asks` are the servers that it needs; `finds` True: without them it prints findings and exits with 1.
    """

    arguments: tuple[str, ...] = ()
    asks: frozenset[str] = frozenset({"postgres"})
    finds: bool = False


_NOBODY: frozenset[str] = frozenset()
_KAFKA = frozenset({"kafka"})
_BOTH = frozenset({"kafka", "postgres"})
_SECRETS = ("--secrets", "{secrets}")
_RESET = ("--group", "exports", "--topic", "access.decisions.v1", "--to", "2h")
_PLAN = ("--service", "risk_evaluator", "--topic", "access.requests.v1", "-o", "{new}")
CALLS: Mapping[str, Call] = {
    "publish-example": Call(("access.requested",), _KAFKA),
    "check-message": Call((str(LOGIN), "--type", "access.requested"), _NOBODY),
    "why": Call(),
    "doctor": Call(("--service", "verifier"), _BOTH, finds=True),
    "lag": Call(asks=_KAFKA),
    "tail": Call(("access.requests.v1",), _KAFKA),
    "trace": Call(("--request", UNKNOWN)),
    "dlq ls": Call(),
    "dlq groups": Call(),
    "dlq show": Call(("access.requests.v1", "0", "0")),
    "dlq held": Call(),
    "dlq check": Call(("verifier",)),
    "dlq redrive": Call(("verifier", *WHY, "--execute")),
    "dlq discard": Call(("verifier", *WHY, "--execute")),
    "dlq unpark": Call(("verifier", *WHY, "--execute")),
    "dlq release": Call(("verifier", "access.assessments.v1", *WHY, "--execute")),
    "outbox ls": Call(),
    "outbox retry": Call(("verifier", *WHY, "--execute")),
    "outbox discard": Call(("verifier", *WHY, "--execute")),
    "texts pause": Call(("--country", "SE", *WHY, "--execute")),
    "texts resume": Call(("--country", "SE", *WHY, "--execute")),
    "texts status": Call(),
    "replay plan": Call(_PLAN, _BOTH),
    "replay run": Call(("{plan}", *WHY)),
    "replay resume": Call((UNKNOWN, *WHY)),
    "replay pause": Call((UNKNOWN, *WHY)),
    "replay abort": Call((UNKNOWN, *WHY)),
    "replay status": Call(),
    "replay shadow": Call(("--policy", str(POLICY)), _BOTH),
    "rebuild": Call(("known-places",), _BOTH),
    "offsets reset": Call((*_RESET, *WHY, "--confirm", "0 s", "--execute"), _BOTH),
    "topics plan": Call(asks=_KAFKA),
    "topics apply": Call((*WHY, "--execute"), _BOTH),
    "keys list": Call(_SECRETS),
    "keys rotate": Call(("codes", *_SECRETS)),
    "keys revoke": Call(("codes", "code-0", *_SECRETS)),
    "secrets new": Call(("{new}", "--postgres", "127.0.0.1"), _NOBODY),
}
# Of the services' programs; `run` serves, waits for its servers and tells so on /readyz.
SERVICE_CALLS: Mapping[str, Call] = {
    "run": Call(asks=_NOBODY),
    "migrate": Call(),
    "seed": Call(("{seed}",)),
    "check": Call(finds=True),
    "check-letters": Call(),
    "replay-plan": Call(asks=_NOBODY),  # without an order on standard input it says so first
    "replay-run": Call((UNKNOWN,)),
    "limits": Call(asks=_NOBODY),
    "verify-audit": Call(),
    "rekey": Call(),
    "shadow": Call(),
    "rebuild-places": Call(),
}


def every_command() -> dict[str, Any]:
    """Return every command of `countersign` by its name."""
    found: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        below = getattr(command, "commands", None)
        if below is None:
            found[name] = command
        for word, each in (below or {}).items():
            walk(each, f"{name} {word}".strip())

    walk(typer.main.get_command(cli.program(cli.COMMANDS)), "")
    return found


def every_service_command() -> dict[str, Service[Any]]:
    """Return every command of the services' programs, each with the first service that has it."""
    found: dict[str, Service[Any]] = {}
    for service in ALL_SERVICES:
        for name in commands_of(service):
            if name != "seed" or service.seed is not None:
                found.setdefault(name, service)
    return found


def commands_of(service: Service[Any]) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a service's commands."""
    actions = parser_of(service)._actions  # noqa: SLF001 - argparse has no other way to ask
    (commands,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    return dict(commands.choices)


@dataclass(frozen=True)
class Ground:
    """A folder with the settings, secrets and files of an installation whose servers are all at one port."""

    folder: Path
    port: int

    def filled(self, call: Call) -> list[str]:
        """Return a call's arguments."""
        words = {name: str(self.folder / name) for name in ("secrets", "plan", "new", "seed")}
        return [argument.format(**words) if argument.startswith("{") else argument for argument in call.arguments]

    def environment(self, service: str | None = None) -> dict[str, str]:
        """Return an environment that names these servers and no others; of a service, with its settings."""
        theirs = ("COUNTERSIGN_", "KAFKA_", "POSTGRES_", "OPERATOR_", "HEALTH_", "SECRETS_", "VERIFIER_", "SERVICE_")
        found = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        if service is not None:
            return found | (stack_env.read(self.folder / "env" / f"{service}.env") or {})
        return found | {
            "DATA": str(self.folder),
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.port}",
            "OPERATOR_DSN": self.dsn("operator"),
            "OPERATOR_CONTEXT": "local",
        }

    def dsn(self, role: str) -> str:
        """Return a role's address of PostgreSQL."""
        return f"postgresql://{role}:not-the-password@127.0.0.1:{self.port}/countersign"


def laid(folder: Path, port: int) -> Ground:
    """Lay the files of an installation whose servers are at a port."""
    ground = Ground(folder, port)
    layout = Layout(folder, 20_000)
    drawn = secret_files.with_dsns(secret_files.draw(), {name: ground.dsn(name) for name in SERVICES})
    drawn["enrolment"]["staff_account_id"] = UNKNOWN
    programs.closed_folder(folder / "env")
    own = {"COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "COUNTERSIGN_HEALTH__PORT": "0"}
    for name in SERVICES:
        secret_files.write(folder / "secrets", name, drawn[name])
        told = {key: value for key, value in programs.environment(name, layout).items() if "__SASL_" not in key}
        told["COUNTERSIGN_KAFKA__SECURITY_PROTOCOL"] = "PLAINTEXT"
        stack_env.write(folder / "env" / f"{name}.env", told | own)
    noon = system_clock()  # a plan is good for a day
    plan = Plan(
        asked=Asked(service="risk_evaluator", topic="access.requests.v1"),
        made_at=noon,
        made_by="ann",
        code="",
        limits="",
        ranges=[],
        found=Found(),
    )
    (folder / "plan").write_text(plan.sealed().model_dump_json(), "utf-8")
    (folder / "seed").write_text(json.dumps({}), "utf-8")
    return ground


@contextmanager
def silent_port() -> Iterator[tuple[int, threading.Event]]:
    """Lend a port that takes connections and answers nothing, and an event: somebody has connected."""
    held: list[socket.socket] = []
    somebody = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:

        def take() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return
                somebody.set()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], somebody
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


def closed_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
