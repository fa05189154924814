"""Whether SNS answers us and takes our credentials, for `check`. Nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from countersign.runtime.checkup import Finding, fine, wrong
from countersign.runtime.program.frame import Check
from services.notifier.model import Answer
from services.notifier.provider import words_of_stop
from services.notifier.sns import answer_of_error, answer_of_failure, sns_client

if TYPE_CHECKING:
    from services.notifier.settings import SnsSettings

_SUBJECT = "SNS"
_ASKS_WITHOUT_RIGHT = frozenset(
    {"AuthorizationError", "AuthorizationErrorException", "AccessDenied", "AccessDeniedException"}
)


def sns_check(settings: SnsSettings) -> Check:
    """Return a check that asks SNS how many numbers have opted out; it looks at the first hundred at most."""

    async def look() -> list[Finding]:
        where = settings.endpoint_url or settings.region
        try:
            async with sns_client(settings, 1) as client:
                reply = await client.list_phone_numbers_opted_out()
        except ClientError as error:
            return [_refused(where, error)]
        except BotoCoreError as error:
            return [_failed(where, error)]
        count = len(reply.get("phoneNumbers", ()))
        more = " or more" if reply.get("nextToken") else ""
        return [
            fine(_SUBJECT, f"{where} answers and takes our credentials; numbers that have opted out: {count}{more}")
        ]

    return Check(_SUBJECT, look)


def _refused(where: str, error: ClientError) -> Finding:
    told = error.response.get("Error", {})
    code = told.get("Code", "")
    if code in _ASKS_WITHOUT_RIGHT:
        return fine(_SUBJECT, f"{where} answers; we may not list who opted out (sns:ListPhoneNumbersOptedOut)")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    receipt = answer_of_error(status, code, told.get("Message", ""))
    if receipt.answer is Answer.STOPPED:
        return wrong(
            _SUBJECT, f"{where}: {words_of_stop(receipt)} ({code})", "mend the AWS account, its keys or the clock"
        )
    return wrong(_SUBJECT, f"{where} answers {status} {code}", "look at AWS's health, and try again")


def _failed(where: str, error: BotoCoreError) -> Finding:
    if answer_of_failure(error).answer is Answer.STOPPED:
        return wrong(
            _SUBJECT, "no credentials were found", "set sns.access_key_id and its secret, or give the machine a role"
        )
    told = f"{where} cannot be reached: {type(error).__name__}"
    return wrong(_SUBJECT, told, "see whether this machine reaches it, and sns.region or sns.endpoint_url")
