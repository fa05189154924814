"""`python -m deploy.local run|stack|demo|clean|limits`: what the Makefile calls."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientError

from countersign.runtime.database.budget import LIMIT
from deploy.local import principals, programs, secret_files, stack_env
from deploy.local.layout import PORTS, Layout, UnfitError, from_environment, held, refuse_taken_ports
from deploy.local.postgres import ROLES
from deploy.local.process import NotStartedError
from deploy.local.stack import Stack, forget, stage_of
from deploy.local.transcript import StoppedError, perform, words_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PR_SET_PDEATHSIG = 1
_SERVER_PORTS = ["kafka", "kafka controller", "sns", "postgres"]


def _say(line: str) -> None:
    print(line, flush=True)


def _run(layout: Layout) -> int:
    """Start everything, show the main job, stay up."""

    async def work(stack: Stack) -> None:
        await stack.start_servers()
        await stack.start_services()
        await stack.show()
        stack.print_addresses()
        stack.tell()
        await asyncio.Event().wait()

    return _with_stack(layout, list(PORTS), work)


def _stack(layout: Layout) -> int:
    """Start the servers alone and stay up."""

    async def work(stack: Stack) -> None:
        await stack.start_servers()
        stack.tell()
        _say(f"Their addresses are in {layout.stack_env}; `make test ONLY=path` uses them. Ctrl-C ends them.")
        await asyncio.Event().wait()

    # Tests write what no principal may, and make topics of their own: servers alone are open to all of this machine.
    return _with_stack(replace(layout, guarded=False), _SERVER_PORTS, work)


def _with_stack(layout: Layout, ports: list[str], work: Callable[[Stack], Awaitable[None]]) -> int:
    _end_with_make()
    with held(layout):
        refuse_taken_ports(layout, ports)
        return asyncio.run(_until_told_to_stop(layout, work))


async def _until_told_to_stop(layout: Layout, work: Callable[[Stack], Awaitable[None]]) -> int:
    loop = asyncio.get_running_loop()
    async with Stack(layout, _say) as stack:
        working = asyncio.ensure_future(work(stack))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, working.cancel)
        try:
            await working
        except asyncio.CancelledError:
            _say("\nEnding the services, SNS, Kafka and PostgreSQL ...")
    _say("All ended.")
    return 0


def _end_with_make() -> None:
    """End when make dies, if make started this: nobody is left to press Ctrl-C."""
    if "MAKELEVEL" in os.environ and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM.value)


def _demo(layout: Layout) -> int:
    """Show the main job again, on the stack that runs."""
    env = stack_env.read(layout.stack_env)
    if env is None or "GATEWAY_URL" not in env:
        raise UnfitError(f"No stack runs with {layout.data}: make run")
    try:
        asyncio.run(perform(stage_of(env), _say))
    except StoppedError as error:
        raise UnfitError(f"The transcript stopped: {error}. Logs are in {layout.logs}.") from error
    except TimeoutError as error:
        raise UnfitError(f"The transcript stopped: {words_of(error)}. Logs are in {layout.logs}.") from error
    except (OSError, ClientError) as error:
        raise UnfitError(f"The stack of {layout.stack_env} does not answer ({words_of(error)}): make run") from error
    return 0


def _clean(layout: Layout) -> int:
    """Forget the data."""
    with held(layout):
        forgotten = forget(layout)
    _say(f"{layout.data}: the data are gone." if forgotten else f"{layout.data} holds no data of a stack.")
    return 0


def _limits(layout: Layout) -> int:
    """Print each limit of the running configuration with its source, service by service."""
    with tempfile.TemporaryDirectory() as folder:
        layout = replace(layout, data=Path(folder))  # limits need settings with some secrets, not with these
        dsns = {role: f"postgresql://{role}@127.0.0.1/countersign" for role in ROLES}
        drawn = secret_files.with_dsns(secret_files.draw(), dsns)
        for name, held_secrets in secret_files.with_logins(drawn, principals.passwords_of(layout)).items():
            secret_files.write(layout.secrets, name, held_secrets)
        lines = asyncio.run(programs.limits(layout))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for service, name, value, source in lines:
        _say(f"{service:<{widths[0]}}  {name:<{widths[1]}}  {value:<{min(widths[2], 24)}}  {source}")
    connections = sum(int(value) for _, name, value, _ in lines if name == LIMIT)
    _say(
        f"{'all':<{widths[0]}}  {LIMIT:<{widths[1]}}  {connections:<{min(widths[2], 24)}}  the sum, one process of each"
    )
    return 0


_COMMANDS = {"run": _run, "stack": _stack, "demo": _demo, "clean": _clean, "limits": _limits}


def main(arguments: list[str]) -> int:
    """Run one command. What a person can mend is told in a sentence, not in a traceback."""
    logging.getLogger("aiokafka.conn").setLevel(logging.ERROR)  # it warns of the administrator's log-in on loopback
    try:
        return _COMMANDS[arguments[0]](from_environment())
    except (UnfitError, NotStartedError, StoppedError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
