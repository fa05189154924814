"""What a decision does to an export, and what of an export is shown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from countersign.client.denial import judge_denial
from countersign.client.grant import Expected, GrantRefusedError, judge_grant
from countersign.contract import AccessDenied, AccessGranted
from countersign.runtime.errors import OffContractError
from services.exports.model import Denied, Export, Granted, Held, Late, Outcome

if TYPE_CHECKING:
    from datetime import datetime

Shown = Literal["waiting", "ready", "denied", "expired"]


def decide(event: AccessGranted | AccessDenied, held: Held, now: datetime) -> Outcome | None:
    """Return what follows from the verifier's decision; None if it is not for here, or came before.

    Raises OffContractError for a decision or a grant that is not of this very export, KeyUnknownError.
    """
    export = held.exports.get(event.request_id)
    if export is None or shown(export, now) != "waiting" or export.state != "waiting":
        return None
    _same(event, export)
    expected = Expected(
        action="export",
        request_id=export.export_id,
        user_id=export.user_id,
        account_id=export.account_id,
        digest=export.digest(),
        req=export.req or "",
    )
    if isinstance(event, AccessDenied):
        return _denied(event, export, expected, held)
    try:
        judge_grant(event.grant, expected, now, held.keys, held.realm)
    except GrantRefusedError as refused:
        if refused.what == "exp":
            return Late(export)
        raise OffContractError(f"grant.{refused}") from None
    return Granted(export)


def _denied(event: AccessDenied, export: Export, expected: Expected, held: Held) -> Denied:
    """Return the end that the verifier signed. Without its signature anybody on the topic could end an export."""
    if event.proof is None:
        raise OffContractError("proof: missing; a denial counts only with the verifier's signature")
    try:
        denial = judge_denial(event.proof, expected, held.keys, held.realm)
    except GrantRefusedError as refused:
        raise OffContractError(f"proof.{refused}") from None
    return Denied(export, denial.reason, denial.retry_at)


def _same(event: AccessGranted | AccessDenied, export: Export) -> None:
    if event.account_id != export.account_id:
        raise OffContractError("account_id: expected that of the export with this request_id; came another")
    if event.user_id != export.user_id:
        raise OffContractError("user_id: expected that of the export with this request_id; came another")
    if event.digest != export.digest():
        raise OffContractError("digest: expected that of the export with this request_id; came another")


def shown(export: Export, now: datetime) -> Shown:
    """Return the state as people see it: time is over when it is over, whether or not somebody has noted it yet."""
    if export.expires_at is not None and now >= export.expires_at:
        return "expired"
    match export.state:
        case "waiting" | "granted":
            return "waiting"
        case state:
            return state


def reason_of_end(export: Export) -> str:
    """Return why an export expires in its state: nobody decided, the file was never written, nobody fetched it."""
    match export.state:
        case "waiting":
            return "decision.missing"
        case "granted":
            return "file.unwritten"
        case _:
            return "file.expired"
