"""One act: its reason and ticket, the code that it needs, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from countersign.client import Client, GrantRefusedError
from countersign.runtime.tracing.spans import ours
from services.gateway.console import store
from services.gateway.console.decide import (
    ON_ACCOUNT,
    ON_USER,
    member_of,
    problems_of,
    read_form,
    shown_of,
)
from services.gateway.console.finding import FRONT, known_account
from services.gateway.console.model import ActDraft
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.pages import code
from services.gateway.pages.contacts import id_in
from services.gateway.render import see_other
from services.gateway.settings_pages import store as messages
from services.gateway.settings_pages.arrival import heard
from services.gateway.settings_pages.code_step import LOOK_AGAIN_SECONDS, WAIT_IN_POST_SECONDS
from services.gateway.settings_pages.model import Message, Said
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from countersign.client import BuiltRequest, ManagerActKind, RequestState
    from services.gateway.console.model import Account, ActForm, Member
    from services.gateway.gate import Gate
    from services.gateway.model import Session
    from services.gateway.visitor import Visitor

ACT = "/manager/act"
_FORM = "/manager/form"  # under this name what the form says next is kept; no page has that address


@dataclass(frozen=True, slots=True)
class Subject:
    """What an act is about: an account, or a member of it."""

    kind: ManagerActKind
    path: str
    account: Account
    member: Member | None

    @property
    def target(self) -> UUID:
        """The id in the route of the act."""
        return self.account.account_id if self.member is None else self.member.user_id


class ActPages:
    """GET and POST of /manager/accounts/{id}/{act}, …/users/{user}/{act}, and /manager/act."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def form(self, request: web.Request) -> web.Response:
        """Ask for the reason and the ticket."""
        if request[VISITOR].signed_in is None:
            return see_other("/login")
        subject = await self._subject(request)
        said = await heard(self._gate, request, _FORM)
        return self._gate.pages.page(
            request, "console/act_form.html", subject=subject, state=subject.kind.replace(".", "_"), here="find", **said
        )

    async def ask(self, request: web.Request) -> web.Response:
        """Ask for the code to the act, and lead to where it is entered."""
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        session = visitor.signed_in
        if session is None:
            return see_other("/login")
        subject = await self._subject(request)
        typed = read_form(form)
        if problems := problems_of(typed):
            said = tuple(Said(visitor.words(one.key), f"#{one.field}") for one in problems)
            kept = {"reason": typed.reason, "ticket": typed.ticket, "places": form.get("places", "")}
            await messages.say(self._gate.pool, visitor, _FORM, Message(kind="problem", said=said, typed=kept))
            return see_other(subject.path)
        await self._submit(visitor, session, self._draft(visitor, session, subject, typed, form.get("once", "")))
        return see_other(ACT)

    async def show(self, request: web.Request) -> web.Response:
        """Show how far the act has come."""
        visitor = request[VISITOR]
        if visitor.signed_in is None:
            return see_other("/login")
        draft = await store.draft_of(self._gate.pool, visitor.session_id)
        if draft is None:
            return see_other(FRONT)
        found = None if draft.outcome is not None else await self._gate.decisions.wait(draft.request_id, 0)
        return await self._page(request, draft, found)

    async def press(self, request: web.Request) -> web.Response:
        """Do what the pressed button says."""
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        session = visitor.signed_in
        if session is None:
            return see_other("/login")
        draft = await store.draft_of(self._gate.pool, visitor.session_id)
        if draft is None:
            return see_other(FRONT)
        # A form of an earlier act, sent again, does nothing.
        if draft.outcome is not None or form.get("step") != _tag(visitor, draft):
            return see_other(ACT)
        found = await self._gate.decisions.wait(draft.request_id, 0)
        if form.get("do") == "cancel":
            return await self._give_up(visitor, draft, found)
        if found.state == "granted" and found.grant is not None:
            await self._carry_out(visitor, session, draft, found.grant)
        elif found.state == "challenged" and found.challenge is not None:
            await self._coded(visitor, session, form, draft, found)
        return see_other(ACT)

    async def _subject(self, request: web.Request) -> Subject:
        """Return what the address names. Raises 404."""
        named, account = request.match_info["act"], await known_account(self._gate, request)
        path = f"/manager/accounts/{account.account_id}"
        if "user" not in request.match_info:
            if named not in ON_ACCOUNT:
                raise web.HTTPNotFound
            return Subject(ON_ACCOUNT[named], f"{path}/{named}", account, None)
        member = member_of(account, id_in(request.match_info["user"]))
        if named not in ON_USER or member is None:
            raise web.HTTPNotFound
        return Subject(ON_USER[named], f"{path}/users/{member.user_id}/{named}", account, member)

    def _draft(self, visitor: Visitor, session: Session, subject: Subject, typed: ActForm, once: str) -> ActDraft:
        """Return the act; its request follows from the form, so a form sent twice is one request and one text."""
        anywhere = typed.anywhere and subject.kind == "number.reset"
        said = (subject.path, typed.reason, typed.ticket, str(anywhere))
        draft = ActDraft(
            request_id=visitor.id_of("act", once, *said),
            req="",
            kind=subject.kind,
            account_id=subject.account.account_id,
            target=subject.target,
            name="" if subject.member is None else subject.member.name,
            anywhere=anywhere,
            reason=typed.reason,
            ticket=typed.ticket,
            ip=visitor.ip,
            locale=visitor.words.language,
            outcome=None,
            begun_at=session.now,
            now=session.now,
        )
        return replace(draft, req=self._built(session, draft).req)

    def _built(self, session: Session, draft: ActDraft) -> BuiltRequest:
        return self._gate.requests.build(
            "manager_act",
            session.account_id,
            session.user_id,
            Client(ip=draft.ip, locale=draft.locale),
            draft.act.authorised(),
            draft.act.summary,
            request_id=draft.request_id,
        )

    async def _submit(self, visitor: Visitor, session: Session, draft: ActDraft) -> None:
        """Keep the act and publish its request; the second sending publishes the very bytes of the first."""
        gate = self._gate
        await store.keep_draft(gate.pool, visitor.session_id, draft)
        kept = await store.draft_of(gate.pool, visitor.session_id)
        if kept is None or kept.request_id != draft.request_id or kept.outcome is not None:
            return
        if not (await gate.decisions.wait(kept.request_id, 0)).is_undecided:
            return
        await gate.requests.submit(self._built(session, kept), kept.begun_at)
        gate.log.info("act_requested", request_id=str(kept.request_id), user_id=str(session.user_id), act=kept.kind)
        try:
            await gate.decisions.wait(kept.request_id, WAIT_IN_POST_SECONDS)
        except ConnectionError:
            gate.log.warning("verifier_away", request_id=str(kept.request_id), user_id=str(session.user_id))

    async def _coded(
        self, visitor: Visitor, session: Session, form: Mapping[str, str], draft: ActDraft, found: RequestState
    ) -> None:
        gate = self._gate
        if found.challenge is None:
            return
        step = await code.press(gate, visitor, form, found.challenge)
        if step.grant is not None:
            await self._carry_out(visitor, session, draft, step.grant)
        elif step.problem is not None:
            await messages.say(gate.pool, visitor, ACT, Message(kind="problem", said=(Said(step.problem, "#code"),)))

    async def _carry_out(self, visitor: Visitor, session: Session, draft: ActDraft, grant: str) -> None:
        """Check that the grant is of the very request that was published here, and let enrolment act on it."""
        gate = self._gate
        span = gate.obeying(draft.request_id)
        expected = replace(self._built(session, draft).expected, req=draft.req)
        try:
            checked = await gate.grants.check(grant, expected, draft.now)
        except GrantRefusedError as refused:
            gate.log.warning("grant_refused", what=refused.what, **_story(session, draft))
            outcome = "grant_refused"
        else:
            outcome = await gate.manager_calls.act(draft, grant) if checked.method == "sms" else "grant_refused"
        await store.settle(gate.pool, visitor.session_id, draft.request_id, outcome)
        span.end(ours(request_id=draft.request_id, user_id=session.user_id, outcome=outcome))
        gate.log.info("acted", **_story(session, draft), act=draft.kind, outcome=outcome)

    async def _give_up(self, visitor: Visitor, draft: ActDraft, found: RequestState) -> web.Response:
        if found.state == "challenged" and found.challenge is not None:
            await self._gate.challenges.cancel(found.challenge.challenge_id)
        await store.drop(self._gate.pool, visitor.session_id, draft.request_id)
        return see_other(f"/manager/accounts/{draft.account_id}")

    async def _page(self, request: web.Request, draft: ActDraft, found: RequestState | None) -> web.Response:
        visitor = request[VISITOR]
        state = shown_of(draft, found)
        context: dict[str, Any] = await heard(self._gate, request, ACT)
        if state == "code" and found is not None and found.challenge is not None:
            box = code.box_of(found.challenge, draft.now)
            context |= {"code_box": box, "poll": box.poll}
        elif state == "denied" and found is not None:
            kind = code.SAID[found.reason] if found.reason is not None else "unfit"
            context |= {"kind": kind, "retry_in": code.retry_in(found.retry_at, draft.now)}
        elif state == "moment":
            slow = draft.now - draft.begun_at > code.USUAL
            context |= {"slow": slow, "poll": 1, "refresh": LOOK_AGAIN_SECONDS}
        elif state == "refused":
            key = f"console.refused.{draft.outcome}"
            context |= {"refusal": key if key in visitor.words.names() else "console.refused.other"}
        return self._gate.pages.page(
            request,
            "console/act.html",
            state=state,
            draft=draft,
            account_path=f"/manager/accounts/{draft.account_id}",
            step_tag=_tag(visitor, draft),
            here="find",
            **context,
        )


def _tag(visitor: Visitor, draft: ActDraft) -> str:
    """Return what the forms of this act carry. It does not tell the request's id."""
    return str(visitor.id_of("act step", str(draft.request_id)))


def _story(session: Session, draft: ActDraft) -> dict[str, str]:
    """Return what each log line about an act names; the account is the one that is acted on."""
    return {
        "request_id": str(draft.request_id),
        "account_id": str(draft.account_id),
        "user_id": str(session.user_id),
    }
