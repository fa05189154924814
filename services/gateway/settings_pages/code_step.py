"""A change that waits for its code: beginning it, what the page shows of it, and what the three buttons do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.gateway.decide import progress_of
from services.gateway.pages import code
from services.gateway.settings_pages import store
from services.gateway.settings_pages.decide import is_current, step_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.gateway.gate import Gate
    from services.gateway.settings_pages.model import Draft, DraftPage
    from services.gateway.visitor import Visitor

WAIT_IN_POST_SECONDS = 2.0  # chosen: then the browser is sent on and waits there
LOOK_AGAIN_SECONDS = 2  # chosen: people who wait for a second or two
BUTTONS = frozenset({"answer", "resend", "cancel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """What a button led to: the grant, or a problem with the code, or the change was given up, or none: look again."""

    grant: str | None = field(default=None, repr=False)
    problem: str | None = None
    given_up: bool = False


async def current(gate: Gate, visitor: Visitor, page: DraftPage) -> Draft | None:
    """Return what the session has begun on a page, unless it was left long ago."""
    draft = await store.draft_of(gate.pool, visitor.session_id, page)
    return draft if is_current(draft) else None


async def begin(gate: Gate, visitor: Visitor, draft: Draft) -> None:
    """Keep a change whose request enrolment has opened, and wait a little for its code to be on its way."""
    await store.keep_draft(gate.pool, visitor.session_id, draft)
    try:
        await gate.decisions.wait(draft.request_id, WAIT_IN_POST_SECONDS)
    except ConnectionError:
        gate.log.warning("verifier_away", request_id=str(draft.request_id), user_id=str(draft.user_id))


async def shown(gate: Gate, visitor: Visitor, draft: Draft) -> dict[str, Any]:
    """Return what a template needs to show of a change."""
    found = await gate.decisions.wait(draft.request_id, 0)
    waited = draft.now - draft.begun_at
    state = progress_of(found, waited)
    context: dict[str, Any] = {
        "state": state,
        "draft": draft,
        "step": step_of(draft),
        "step_tag": _tag(visitor, draft),
    }
    if state == "code" and found.challenge is not None:
        box = code.box_of(found.challenge, draft.now)
        return {**context, "code_box": box, "poll": box.poll}
    if state == "denied":
        kind = code.SAID[found.reason] if found.reason is not None else "unfit"
        return {**context, "kind": kind, "retry_in": code.retry_in(found.retry_at, draft.now)}
    if state == "moment":
        return {**context, "slow": waited > code.USUAL, "poll": 1, "refresh": LOOK_AGAIN_SECONDS}
    return context


async def press(gate: Gate, visitor: Visitor, form: Mapping[str, str], draft: Draft) -> Pressed:
    """Do what a button of the code box says. A form of an earlier step, sent again, does nothing."""
    if form.get("step") != _tag(visitor, draft):
        return Pressed()
    found = await gate.decisions.wait(draft.request_id, 0)
    if form.get("do") == "cancel":
        if found.state == "challenged" and found.challenge is not None:
            await gate.challenges.cancel(found.challenge.challenge_id)
        await store.drop_draft(gate.pool, visitor.session_id, draft)
        return Pressed(given_up=True)
    if found.state == "granted":
        return Pressed(grant=found.grant)
    if found.state != "challenged" or found.challenge is None:
        return Pressed()
    step = await code.press(gate, visitor, form, found.challenge)
    return Pressed(grant=step.grant, problem=step.problem)


def _tag(visitor: Visitor, draft: Draft) -> str:
    """Return what the forms of this step carry. It does not tell the request's id."""
    return str(visitor.id_of("step", str(draft.request_id)))
