"""What the engineer on call sees: each scene lets something happen on a stack, and runs the commands that tell it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from countersign.client import AccessRequests, Challenges, Client, Decisions, ProducerSettings, login_authorised
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.pictures.terminal import Terminal
    from tests.support.whole_stack import Household, Person

ADDRESS, ANOTHER = (
    "203.0.113.7",
    "198.51.100.23",
)  # kept free for documentation (RFC 5737), as the ids below are those of the examples
LOGIN, SUPPRESSED = (UUID(f"019cadf4-6e80-7c01-8000-00000000000{nth}") for nth in (1, 2))
WHY = ("--reason", "pumping, ticket 4711", "--who", "ann@bastion", "--execute")
BEHIND_SECONDS = 21.0  # long enough to be seen, short enough for requests that wait not to be stale


async def log_in_with_a_code(terminal: Terminal, household: Household) -> None:
    """From a computer that the account has not used, with a wrong code first."""
    owner = household.owner
    await _ask(terminal, owner, LOGIN)
    code = await terminal.whole.code(owner.number)
    await _answer(terminal, LOGIN, "000000" if code != "000000" else "111111")
    await _answer(terminal, LOGIN, code)
    await terminal.take("terminal-trace-login", "trace", "--request", str(LOGIN))


async def texts_stopped(terminal: Terminal, household: Household) -> None:
    """Nobody gets a text, and why."""
    await terminal.run("texts", "pause", *WHY)
    await _ask(terminal, household.managed[0], SUPPRESSED, ANOTHER)
    async with _decisions(terminal) as decisions:

        async def denied() -> bool:
            return (await decisions.wait(SUPPRESSED, 5)).state == "denied"

        await until(denied, "a denial")
    await terminal.take("terminal-texts-status", "texts", "status", code=1)
    await terminal.run("texts", "resume", *WHY)
    await terminal.take("terminal-trace-suppressed", "trace", "--request", str(SUPPRESSED))


async def refused_messages(terminal: Terminal, household: Household) -> None:
    """Dead letters of two causes, by the producer that sent them."""
    del household
    for source, field, times in (("checkout", "action=fly", 3), ("newsletter", "digest=short", 2)):
        for _ in range(times):
            arguments = ("access.requested", "--set", field, "--source", source, "--anyway")
            await terminal.run("publish-example", *arguments)

    async def refused() -> bool:
        return (await terminal.run("dlq", "ls", "--json", codes=(0, 1))).count('"offset"') >= 5

    await until(refused, "five dead letters")
    await terminal.take("terminal-dlq-groups", "dlq", "groups")


async def behind(terminal: Terminal, household: Household) -> None:
    """Let a service stand still while people log in."""
    with _standing_still(terminal, "risk_evaluator"):
        for person in (household.owner, *household.managed):
            await _ask(terminal, person, uuid4())
        await asyncio.sleep(BEHIND_SECONDS)
        await terminal.take("terminal-lag", "lag", code=1)  # it has left the group


async def examined(terminal: Terminal, household: Household) -> None:
    """All that is not well, with what to do."""
    del household
    await terminal.take("terminal-doctor", "doctor", "--quiet")


async def replay_planned(terminal: Terminal, household: Household) -> None:
    """Plan to fold the last hour again."""
    del household
    asked = ("--service", "risk_evaluator", "--topic", "access.requests.v1", "--since", "1h", "-o", "plan.json")
    await terminal.take("terminal-replay-plan", "replay", "plan", *asked)


def _decisions(terminal: Terminal) -> Decisions:
    return Decisions(terminal.whole["VERIFIER_URL"], terminal.whole["SERVICE_TOKEN"])


async def _ask(terminal: Terminal, person: Person, request_id: UUID, address: str = ADDRESS) -> None:
    """Publish the request of a log-in whose password was right."""
    authorised = login_authorised(request_id, person.user_id, "a session")
    async with AccessRequests("gateway", ProducerSettings.named(terminal.whole.env)) as requests:
        client = Client(ip=address)
        built = requests.build("login", person.account_id, person.user_id, client, authorised, request_id=request_id)
        await requests.submit(built)


async def _answer(terminal: Terminal, request_id: UUID, code: str) -> None:
    env = terminal.whole.env
    async with _decisions(terminal) as decisions, Challenges(env["VERIFIER_URL"], env["SERVICE_TOKEN"]) as challenges:
        state = await decisions.wait(request_id, 10)
        assert state.challenge is not None, state
        await challenges.answer(state.challenge.challenge_id, code, uuid4())


@contextmanager
def _standing_still(terminal: Terminal, service: str) -> Iterator[None]:
    pid = terminal.whole.running.pids[service.upper()]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


TERMINAL_SCENES: tuple[Callable[[Terminal, Household], Awaitable[None]], ...] = (
    log_in_with_a_code,
    texts_stopped,
    refused_messages,
    replay_planned,
    examined,
    behind,
)
