"""`countersign trace` on the whole stack: what a person on call reads of a log-in, an export and a wrong code."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from countersign import cli
from countersign.client import Challenges, Decisions
from deploy.local.postgres import OPERATOR, dsn_of
from tests.stack.test_odd_input import ask
from tests.support.whole_stack import WholeStack

if TYPE_CHECKING:
    import pytest

    from tests.support.stack import RunningStack


async def trace(stack: RunningStack, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command as the operator; return its exit code and what it printed."""
    capsys.readouterr()
    dsn = dsn_of(OPERATOR, stack.env["POSTGRES_DSN"])
    code = await asyncio.to_thread(cli.main, ["trace", *arguments, "--dsn", dsn])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


async def answered(stack: RunningStack, request_id: UUID, code: str | None) -> Any:
    """Enter a code, or a wrong one for None; return the challenge."""
    verifier, token = stack.env["VERIFIER_URL"], stack.env["SERVICE_TOKEN"]
    async with Decisions(verifier, token) as decisions, Challenges(verifier, token) as challenges:
        found = await decisions.wait(request_id, 10)
        assert found.challenge is not None, found
        typed = code or ("000000" if code != "000000" else "111111")
        await challenges.answer(found.challenge.challenge_id, typed, uuid4())
        return found.challenge


async def test_the_story_of_a_request_over_all_services(
    stack: RunningStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """First what became of it, then every step; no number, no code; found by challenge and user too."""
    whole = WholeStack(stack)
    owner = (await whole.household()).owner
    seen = len(await whole.texts(owner.number))
    request_id = await ask(stack, owner, {}, {}, action="export")
    challenge = await answered(stack, request_id, None)
    code, printed = await trace(stack, capsys, "--request", str(request_id))
    assert code == 0
    assert printed.startswith("Waits for the code that goes to +1 ••••••••" + owner.number[-2:])
    assert "4 tries are left" in printed
    code_entered = await whole.code(owner.number, "", nth=seen + 1)
    await answered(stack, request_id, code_entered)
    code, printed = await trace(stack, capsys, "--challenge", str(challenge.challenge_id))
    assert printed.startswith("Granted with a code at try 2")
    for step in (
        "requested",
        "assessed",
        "challenged",
        "text.issued",
        "text.claimed",
        "text.accepted",
        "answered",
        "granted",
    ):
        assert f"  {step} " in printed or f"  {step}\n" in printed, step
    assert "export.always" in printed
    assert owner.number not in printed
    assert code_entered not in printed
    code, printed = await trace(stack, capsys, "--user", str(owner.user_id), "--json")
    steps = [json.loads(line) for line in printed.splitlines()]
    assert {step["request_id"] for step in steps if step["request_id"]} >= {str(request_id)}


async def test_what_was_changed_about_an_account(stack: RunningStack, capsys: pytest.CaptureFixture[str]) -> None:
    """By whom and when, before the requests; nobody's number."""
    owner = (await WholeStack(stack).household()).owner
    code, printed = await trace(stack, capsys, "--account", str(owner.account_id))
    assert code == 0, printed
    assert printed.splitlines()[0].endswith(" changes of settings.")
    assert "two_factor.enabled" in printed
    assert owner.number not in printed
    code, printed = await trace(stack, capsys, "--user", str(owner.user_id), "--json")
    assert "enrolment" in {json.loads(line)["service"] for line in printed.splitlines()}


async def test_what_nobody_knows_is_told(stack: RunningStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; and a wrong way of asking is told in words."""
    code, printed = await trace(stack, capsys, "--request", str(uuid4()))
    assert code == 1
    assert printed.startswith("No service knows it")
    code, printed = await trace(stack, capsys)
    assert code == 2
    assert "whose story?" in printed
