"""A whole stack: bring the servers up, lay what they need, start the services, show the main job, stay up."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from aiohttp import ClientError

from countersign.runtime.broker.kafka import KafkaConnection
from deploy.local import postgres, principals, programs, secret_files, seeds, stack_env
from deploy.local.checkout import CHECKOUT, virtual_environment
from deploy.local.lay import lay
from deploy.local.layout import SERVICES, UnfitError
from deploy.local.programs import SERVERS
from deploy.local.supervisor import Supervisor
from deploy.local.together import together
from deploy.local.transcript import Stage, StoppedError, perform, words_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploy.local.layout import Layout


class Stack:
    """One stack. Use it as `async with`: leaving ends what it started, in order, and nothing else."""

    def __init__(self, layout: Layout, say: Callable[[str], None]) -> None:
        self._layout = layout
        self._say = say
        self._supervisor = Supervisor(say, self._tell_others)
        self._env: dict[str, str] = {}
        self._told = False
        self._serving = False
        self._password = superuser_password(layout)
        self._secrets: secret_files.Secrets = {}
        self._seed: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self._layout.stack_env.unlink(missing_ok=True)  # of a stack that was killed
        return self

    async def __aexit__(self, *_: object) -> None:
        self._layout.stack_env.unlink(missing_ok=True)
        await self._supervisor.end([SERVICES, *([name] for name in SERVERS)])

    async def start_servers(self) -> None:
        """Start Kafka, PostgreSQL and SNS, and lay roles, topics, migrations and secrets."""
        began = time.monotonic()
        self._seed = seeds.seed_of(self._layout)
        await together(self._start_server(name) for name in SERVERS)
        dsn = postgres.dsn(self._layout.port("postgres"), self._password)
        kafka = KafkaConnection(bootstrap_servers=self._layout.bootstrap_servers)
        passwords = None
        if self._layout.guarded:
            kafka = principals.guard_of(self._layout).administrator()
            passwords = principals.passwords_of(self._layout)
        staff = self._seed["staff_account_id"]
        self._secrets = await lay(kafka, dsn, self._layout.secrets, staff, passwords)
        self._say(f"Kafka, PostgreSQL and SNS are up ({time.monotonic() - began:.1f} s)")

    async def start_services(self) -> None:
        """Put the demonstration in and start the six services."""
        began = time.monotonic()
        if await programs.sow(self._layout):
            self._say(f"The demonstration's account, people and contacts are in ({time.monotonic() - began:.1f} s)")
        began = time.monotonic()
        programs.write_environments(self._layout)
        await together(self._supervisor.start(name, programs.service(name, self._layout)) for name in SERVICES)
        self._serving = True
        self._say(f"All six services are ready ({time.monotonic() - began:.1f} s)")

    async def show(self) -> None:
        """Perform the transcript; a stack whose transcript stops is up all the same."""
        try:
            await perform(stage_of(self._full_env()), self._say)
        except (StoppedError, TimeoutError, ClientError, ValueError) as error:
            self._say(f"\nThe transcript stopped: {words_of(error)}. Logs are in {self._layout.logs}.")

    def tell(self) -> None:
        """Write stack.env, now and after every restart."""
        self._told = True
        self._tell_others()

    def print_addresses(self) -> None:
        """Say where to go."""
        env = self._full_env()
        self._say(f"\nLogin page  {env['GATEWAY_URL']}/login")
        self._say(f"Phones      {env['GATEWAY_URL']}/phone   (the texts; and act as another computer)")
        self._say(f"Console     {env['CONSOLE_URL']}/login   (account managers)\n")
        for person in self._seed["people"]:
            where = "console" if person["role"] == "account_manager" else "pages"
            self._say(f"  {person['name']:<14}{person['email']:<24}{person['password']:<18}{person['role']} ({where})")
        self._say(
            f"\nFor the engineer on call: {call_of(self._layout)} doctor, and lag, tail, trace, dlq; --help says more"
        )
        self._say(f"Addresses for programs are in {self._layout.stack_env}. Ctrl-C ends the stack; its data stay.")

    async def _start_server(self, name: str) -> None:
        program = await asyncio.to_thread(programs.server, name, self._layout, self._password)
        await self._supervisor.start(name, program)

    def _full_env(self) -> dict[str, str]:
        env = stack_env.of_servers(self._layout, self._password, self._supervisor.pids)
        if self._serving:
            env |= stack_env.of_services(self._layout, self._secrets, self._seed)
        return env

    def _tell_others(self) -> None:
        if self._told:
            stack_env.write(self._layout.stack_env, self._full_env())


def call_of(layout: Layout) -> str:
    """Return how to call the command line beside this stack, from the checkout's folder."""
    program = virtual_environment() / "bin" / "countersign"
    shown = program.relative_to(CHECKOUT) if program.is_relative_to(CHECKOUT) else program
    return str(shown) if layout.data == CHECKOUT / ".local" else f"DATA={layout.data} {shown}"


def superuser_password(layout: Layout) -> str:
    """Return PostgreSQL's superuser password, drawn on the first start."""
    path = _password_file(layout)
    if not path.exists():
        if layout.postgres.exists():
            raise UnfitError(f"The password of the database in {layout.postgres} is gone: rm -r {layout.postgres}")
        layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


def forget(layout: Layout) -> bool:
    """Remove all data of a stack, but only where there was one: DATA may name anybody's folder."""
    if not _password_file(layout).exists():
        return False
    shutil.rmtree(layout.postgres, ignore_errors=True)
    if layout.postgres.parent != layout.data:  # it was moved: see `reachable`
        with suppress(OSError):  # its database was never made
            layout.postgres.parent.rmdir()
    for name in ("certificates", "env", "kafka", "logs", "secrets"):
        shutil.rmtree(layout.data / name, ignore_errors=True)
    for name in ("seed.json", "seeded", "stack.env"):
        (layout.data / name).unlink(missing_ok=True)
    return True


def _password_file(layout: Layout) -> Path:
    return layout.secrets / "postgres.password"


def stage_of(env: dict[str, str]) -> Stage:
    """Return where a transcript plays, from stack.env."""
    return Stage(
        gateway_url=env["GATEWAY_URL"],
        sns_url=env["SNS_URL"],
        kafka=KafkaConnection.named(env),
        superuser_dsn=env["POSTGRES_DSN"],
        account_id=env["DEMO_ACCOUNT_ID"],
        owner={
            "user_id": env["DEMO_OWNER_ID"],
            "name": "The owner",
            "email": env["DEMO_OWNER_EMAIL"],
            "password": env["DEMO_OWNER_PASSWORD"],
            "number": env["DEMO_OWNER_NUMBER"],
        },
    )
