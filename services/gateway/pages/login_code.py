"""Between the right password and the session: one moment, the code box, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from countersign.client import Expected, GrantRefusedError, login_digest
from countersign.runtime.tracing.spans import ours
from services.gateway import store
from services.gateway.decide import given_up
from services.gateway.guard import StaleFormError, form_of
from services.gateway.handover import give_up, resume
from services.gateway.hosts import origin_of
from services.gateway.pages import code
from services.gateway.render import see_other
from services.gateway.setup import store as setup
from services.gateway.setup.decide import way_after_password
from services.gateway.visitor import VISITOR, new_nonce, new_secret, session_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from countersign.client import ChallengeState, RequestState
    from services.gateway.gate import Gate
    from services.gateway.model import Session
    from services.gateway.visitor import Visitor

LOOK_AGAIN_SECONDS = 2  # chosen: people who wait for a second or two


class LoginCodePages:
    """GET and POST /login/code, for a browser that has given the right password."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show how far the log-in has come; if it is granted, finish it."""
        visitor = request[VISITOR]
        pending = visitor.pending
        if pending is None:
            await resume(self._gate, visitor)
            return see_other(self._gate.front)
        found = await self._gate.decisions.wait(pending.request_id, 0)
        if found.state == "granted" and found.grant is not None:
            return await self._finish(request, pending, found.grant) or self._unfit(request)
        return self._page(request, pending, found)

    async def submit(self, request: web.Request) -> web.Response:
        """Do what the pressed button says."""
        try:
            return await self._pressed(request)
        except StaleFormError:
            if request[VISITOR].signed_in is None:
                raise
            # The second sending of a form whose first one has logged this browser in.
            return see_other(self._gate.front)

    async def _pressed(self, request: web.Request) -> web.Response:
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        pending = visitor.pending
        if pending is None:
            return await self._ended(visitor, form)
        found = await self._gate.decisions.wait(pending.request_id, 0)
        if form.get("do") == "cancel":
            return await self._give_up(visitor, found)
        if found.state == "granted" and found.grant is not None:  # another sending of this form was judged first
            return await self._finish(request, pending, found.grant) or see_other("/login/code")
        if found.state != "challenged" or found.challenge is None:
            return see_other("/login/code")
        return await self._stepped(request, pending, form, found.challenge)

    async def _stepped(
        self, request: web.Request, pending: Session, form: Mapping[str, str], challenge: ChallengeState
    ) -> web.Response:
        visitor = request[VISITOR]
        step = await code.press(self._gate, visitor, form, challenge)
        if step.grant is not None:
            return await self._finish(request, pending, step.grant) or see_other("/login/code")
        if step.problem is not None:
            visitor.leave(step.problem, problem=True)
        return see_other("/login/code")

    def _page(self, request: web.Request, pending: Session, found: RequestState) -> web.Response:
        if found.state == "challenged" and found.challenge is not None:
            return self._box(request, code.box_of(found.challenge, pending.now))
        t = request[VISITOR].words
        if found.is_undecided and not given_up(pending):
            slow = pending.age > code.USUAL
            return self._plain(request, "moment", t("moment.title"), slow=slow, poll=1, refresh=LOOK_AGAIN_SECONDS)
        if found.is_undecided:
            return self._plain(request, "given_up", t("moment.given_up_title"), status=503)
        told = ours(request_id=pending.request_id, user_id=pending.user_id, outcome=f"denied {found.reason or 'unfit'}")
        self._gate.obeying(pending.request_id).end(told)
        kind = code.SAID[found.reason] if found.reason is not None else "unfit"
        retry_in = code.retry_in(found.retry_at, pending.now)
        return self._plain(request, "denied", t(f"denied.{kind}.title"), kind=kind, retry_in=retry_in)

    def _box(self, request: web.Request, box: code.CodeBox) -> web.Response:
        return self._plain(request, "code", request[VISITOR].words("code.title"), box=box, poll=box.poll)

    def _plain(
        self, request: web.Request, state: str, title: str, *, status: int = 200, **context: Any
    ) -> web.Response:
        return self._gate.pages.page(request, "login_code.html", status, state=state, title=title, **context)

    async def _ended(self, visitor: Visitor, form: Mapping[str, str]) -> web.Response:
        """Lead on a browser whose pending session is over; the answer that said so may have been lost."""
        if form.get("do") == "cancel":
            await give_up(self._gate, visitor)
            visitor.leave(visitor.words("login.cancelled"))
        else:
            await resume(self._gate, visitor)
        return see_other(self._gate.front)

    async def _give_up(self, visitor: Visitor, found: RequestState) -> web.Response:
        if found.state == "challenged" and found.challenge is not None:
            await self._gate.challenges.cancel(found.challenge.challenge_id)
        await store.end(self._gate.pool, visitor.session_id)
        visitor.secret = new_secret()
        visitor.leave(visitor.words("login.cancelled"))
        return see_other("/login")

    async def _finish(self, request: web.Request, pending: Session, grant: str) -> web.Response | None:
        """Turn a grant that fits this very browser into a signed-in session, once; None: it does not fit."""
        gate, visitor = self._gate, request[VISITOR]
        span = gate.obeying(pending.request_id)
        expected = Expected(
            action="login",
            request_id=pending.request_id,
            user_id=pending.user_id,
            account_id=pending.account_id,
            digest=login_digest(pending.request_id, pending.user_id, visitor.secret),
            req=pending.req or "",
        )
        try:
            checked = await gate.grants.check(grant, expected, pending.now)
        except GrantRefusedError as refused:
            gate.log.warning("grant_refused", what=refused.what, **_story(pending))
            return None
        if pending.staff and checked.method != "sms":
            # The verifier asks every account manager for a code; a grant without one is not acted on here either.
            gate.log.warning("grant_refused", what="amr", **_story(pending))
            return None
        reset = await setup.open_reset(gate.pool, pending.user_id, visitor.seen_from)
        if way_after_password(reset) != "log_in":
            # The number was reset since this log-in began: its right password leads elsewhere now.
            await store.end(gate.pool, visitor.session_id)
            return see_other("/login")
        secret = gate.browser_key.signed_in_secret(visitor.secret)
        signed_in = await store.sign_in(
            gate.pool, visitor.session_id, session_id_of(secret), checked.request_id, checked.method
        )
        if signed_in:
            visitor.secret = secret
            span.end(ours(request_id=pending.request_id, user_id=pending.user_id, outcome="signed_in"))
            gate.log.info("signed_in", **_story(pending), method=checked.method)
        elif not await resume(gate, visitor):
            # Nothing to hand over: the grant was spent, and its session has been shown by a browser or has ended.
            return see_other(gate.front)
        visitor.device = gate.browser_key.device_cookie(visitor.device, pending.email, new_nonce(), pending.now)
        return see_other(gate.front)

    def _unfit(self, request: web.Request) -> web.Response:
        title = request[VISITOR].words("denied.unfit.title")
        return self._plain(request, "denied", title, status=403, kind="unfit", retry_in=None)


def _story(pending: Session) -> dict[str, str]:
    """Return what each log line about a log-in names."""
    return {
        "request_id": str(pending.request_id),
        "account_id": str(pending.account_id),
        "user_id": str(pending.user_id),
    }
