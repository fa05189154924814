"""The programs of a stack: three servers and six services, and what each is told."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from deploy.local import kafka, postgres, principals, sns, stack_env
from deploy.local.checkout import CHECKOUT
from deploy.local.layout import HOST, SERVICES, Layout, closed_folder
from deploy.local.process import Program
from deploy.local.together import together

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVERS = ("sns", "kafka", "postgres")  # in the order of their end
SEEDED = ("enrolment", "exports", "gateway")
POLICY = CHECKOUT / "deploy" / "policy" / "local.yaml"

# What the services are told beside their secrets. {name} is the address of that service or server.
# compose.yaml tells them the same; tests/stack/test_compose.py compares.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "risk_evaluator": {"POLICY_FILE": "{policy}", "JWKS_URL": "{verifier}/.well-known/jwks.json"},
    "verifier": {"HTTP__PORT": "{verifier port}", "POLICY_FILE": "{policy}"},
    "notifier": {
        "POLICY_FILE": "{policy}",
        "SNS__ENDPOINT_URL": "{sns}",
        "SNS__REGION": "eu-central-1",
        "TEXT__HOST": "localhost",
    },
    "enrolment": {
        "HTTP__PORT": "{enrolment port}",
        "POLICY_FILE": "{policy}",
        "JWKS_URL": "{verifier}/.well-known/jwks.json",
    },
    "exports": {"HTTP__PORT": "{exports port}", "JWKS_URL": "{verifier}/.well-known/jwks.json"},
    "gateway": {
        "PUBLIC_URL": "{gateway}",
        "CONSOLE_URL": "{console}",
        "PORT": "{gateway port}",
        "CONSOLE_PORT": "{console port}",
        "TRUSTED_PROXIES": '["127.0.0.1/32"]',
        "SERVICES__VERIFIER_URL": "{verifier}",
        "SERVICES__ENROLMENT_URL": "{enrolment}",
        "SERVICES__EXPORTS_URL": "{exports}",
        "JWKS_URL": "{verifier}/.well-known/jwks.json",
        "ACCOUNT_MANAGER__NAME": "Dana Reyes",
        "ACCOUNT_MANAGER__EMAIL": "dana@platform.example",
        "LOCAL__SNS_URL": "{sns}",
        "LOCAL__SEED_FILE": "{seed}",
    },
}


def server(name: str, layout: Layout, superuser_password: str) -> Program:
    """Return one of the three servers, its data formatted. Blocks for a second on first use."""
    closed_folder(layout.logs)
    match name:
        case "kafka":
            port, controller = layout.port("kafka"), layout.port("kafka controller")
            guard = principals.guard_of(layout) if layout.guarded else None
            return kafka.program(layout.data / "kafka", port=port, controller_port=controller, guard=guard)
        case "postgres":
            port, log = layout.port("postgres"), layout.logs / "postgres.log"
            return postgres.program(layout.postgres, port=port, password=superuser_password, log=log)
        case "sns":
            return sns.program(layout.logs, port=layout.port("sns"))
        case _:
            raise ValueError(name)


def service(name: str, layout: Layout) -> Program:
    """Return one of the six services."""
    port = layout.port(f"{name} health")

    async def ready() -> bool:
        return await asyncio.to_thread(_says_ready, f"http://{HOST}:{port}/readyz")

    return Program(
        name=name,
        argv=command(name, "run"),
        env=environment(name, layout),
        cwd=CHECKOUT,
        log=layout.logs / f"{name}.log",
        ready=ready,
    )


def command(name: str, *arguments: str) -> list[str]:
    """Return how one service's own command line is called."""
    return [sys.executable, "-m", f"services.{name}", *arguments]


def environment(name: str, layout: Layout) -> dict[str, str]:
    """Return the environment of a service: its settings, and where its secrets are."""
    words = {"policy": str(POLICY), "seed": str(layout.seed)}
    for place in ("gateway", "console", "verifier", "enrolment", "exports", "sns"):
        words |= {place: layout.url(place), f"{place} port": str(layout.port(place))}
    settings = {
        "SECRETS_FILE": str(layout.secrets / f"{name}.json"),
        **principals.settings_of(layout, name),
        "HEALTH__PORT": str(layout.port(f"{name} health")),
        **settings_of(name, words),
    }
    return {f"COUNTERSIGN_{key}": value for key, value in settings.items()}


def write_environments(layout: Layout) -> None:
    """Write each service's environment, one NAME=value a line, for programs that act as the service."""
    folder = layout.data / "env"
    closed_folder(folder)
    for name in SERVICES:
        stack_env.write(folder / f"{name}.env", environment(name, layout))


def settings_of(name: str, words: Mapping[str, str]) -> dict[str, str]:
    """Return a service's own settings, its addresses put in from `words`."""
    return {key: value.format_map(words) if "{" in value else value for key, value in _SETTINGS[name].items()}


def _says_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - a loopback address of ours
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
    except (URLError, OSError):
        return False


async def sow(layout: Layout) -> bool:
    """Let each service put its part in through its own store and role; return whether that was still to do."""
    done = layout.data / "seeded"
    if done.exists():
        return False
    await together(_sow(name, layout) for name in SEEDED)
    done.touch(mode=0o600)
    return True


async def _sow(name: str, layout: Layout) -> None:
    argv = command(name, "seed", str(layout.seed))
    started = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **environment(name, layout)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await started.communicate()
    if started.returncode != 0:
        raise RuntimeError(
            f"{' '.join(argv)} ended with {started.returncode}:\n{said.decode(errors='replace')[-3000:]}"
        )


async def limits(layout: Layout) -> list[tuple[str, str, str, str]]:
    """Return service, name, value and source of every limit, as each service says it."""
    asked = [
        asyncio.create_subprocess_exec(
            *command(name, "limits"),
            env={**os.environ, **environment(name, layout)},
            stdout=asyncio.subprocess.PIPE,
        )
        for name in SERVICES
    ]
    told = [await (await started).communicate() for started in asked]
    rows = [line.split("\t") for out, _ in told for line in out.decode().splitlines()]
    return [(row[0], row[1], row[2], row[3]) for row in rows if len(row) == len(("service", "name", "value", "source"))]
