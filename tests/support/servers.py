"""Kafka, PostgreSQL and a local SNS for tests: from the environment, from containers, or as plain processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.database.postgres import migrate
from deploy.local import kafka, postgres, secret_files, sns
from deploy.local.checkout import CHECKOUT
from deploy.local.jars import fetch_jars
from deploy.local.process import free_ports, started
from deploy.local.topics import make_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NAMES = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "SNS_URL")
_TEST_PASSWORD = "for-tests-only"


@dataclass(frozen=True)
class Servers:
    """Addresses of the three servers, with topics, roles and migrations laid, and one set of matching secrets."""

    kafka: str
    postgres_dsn: str
    sns_url: str
    origin: str
    secrets: dict[str, dict[str, Any]] = field(repr=False, default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def dsn_of(self, service: str) -> str:
        """Return the address of the database as that service's role."""
        return postgres.dsn_of(service, self.postgres_dsn)


def origin() -> str:
    """Say where the servers of this run come from: `environment`, `containers` or `processes`."""
    if all(os.environ.get(name) for name in _NAMES):
        return "environment"
    return "containers" if _docker_answers() else "processes"


@asynccontextmanager
async def servers(*, lasting: bool = False) -> AsyncIterator[Servers]:
    """Start what the environment does not give, lay topics, roles and migrations, and end what was started.

    `lasting`: processes of ours are as they serve for days, for those who measure; else they start and end quickly.
    """
    where = origin()
    async with AsyncExitStack() as stack:
        if where == "environment":
            bootstrap, dsn, sns_url = (os.environ[name] for name in _NAMES)
            found = Servers(bootstrap, dsn, sns_url, where)
        elif where == "containers":
            from tests.support.containers import containers  # noqa: PLC0415 - needs Docker to import anything useful

            found = Servers(*stack.enter_context(containers()), where)
        else:
            found = await _processes(stack, lasting=lasting)
        yield await laid(found)


@asynccontextmanager
async def own_servers() -> AsyncIterator[Servers]:
    """Start servers that nobody else uses, whatever the environment names: for what goes by all that a topic holds."""
    async with AsyncExitStack() as stack:
        yield await laid(await _processes(stack, lasting=False))


async def _processes(stack: AsyncExitStack, *, lasting: bool) -> Servers:
    fetch_jars()
    folder = Path(tempfile.mkdtemp(prefix="countersign-test-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)  # noqa: ASYNC240 - nothing else runs yet; PostgreSQL's user walks through it
    kafka_port, controller_port, postgres_port, sns_port = free_ports(4)
    programs = {
        "sns": sns.program(folder / "sns", port=sns_port),
        "postgres": postgres.program(
            folder / "postgres",
            port=postgres_port,
            password=_TEST_PASSWORD,
            settings=postgres.LASTING if lasting else postgres.FLEETING,
        ),
        "kafka": kafka.program(folder / "kafka", port=kafka_port, controller_port=controller_port, lasting=lasting),
    }
    pids = {}
    for name, program in programs.items():
        process = await started(program)
        stack.push_async_callback(process.end)
        pids[name] = process.pid
    return Servers(
        kafka=f"127.0.0.1:{kafka_port}",
        postgres_dsn=postgres.dsn(postgres_port, _TEST_PASSWORD),
        sns_url=f"http://127.0.0.1:{sns_port}",
        origin="processes",
        pids=pids,
    )


async def laid(found: Servers) -> Servers:
    """Lay topics, roles and migrations on servers, and draw matching secrets."""
    await make_topics(KafkaConnection(bootstrap_servers=found.kafka))
    await postgres.lay_roles(found.postgres_dsn)
    for service in postgres.ROLES:
        if (CHECKOUT / "services" / service / "migrations").is_dir():
            await migrate(found.dsn_of(service), service)
    given = os.environ.get("SECRETS_DIR")
    drawn = secret_files.draw(secret_files.read(Path(given)) if given else None)
    dsns = {service: found.dsn_of(service) for service in postgres.ROLES}
    secrets = secret_files.with_dsns(drawn, dsns)
    return Servers(found.kafka, found.postgres_dsn, found.sns_url, found.origin, secrets, found.pids)


@cache
def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=20)
    return asked.returncode == 0
