"""Texts through Amazon SNS, and its words made ours.

SNS has no idempotency token: a repeated publish is a second text. So the SDK's retries are off, and whatever may have
reached SNS without an answer is in doubt.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.handlers import BUILTIN_HANDLERS

from services.notifier.model import Answer, Receipt
from services.notifier.settings import PUBLISH_SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from types_aiobotocore_sns.client import SNSClient
    from types_aiobotocore_sns.type_defs import MessageAttributeValueTypeDef

    from countersign.contract.number import PhoneNumber
    from services.notifier.model import SmsText
    from services.notifier.settings import SnsSettings

CONNECT_SECONDS_MAX = 2.0
READ_SECONDS_MAX = 5.0
_SERVER_ERROR, _CLIENT_ERROR = 500, 400

# SNS API reference, Publish and common errors; what its SMS sandbox and spending quota say stands in the message.
REFUSED = {
    "OptedOut": "provider.opted_out",
    "OptedOutException": "provider.opted_out",
    "InvalidParameter": "provider.refused",
    "InvalidParameterValue": "provider.refused",
    "ParameterValueInvalid": "provider.refused",
}
NOT_SENT_YET = {
    "Throttled": "provider.throttled",
    "Throttling": "provider.throttled",
    "ThrottledException": "provider.throttled",
    "ThrottlingException": "provider.throttled",
    "TooManyRequestsException": "provider.throttled",
    "RequestLimitExceeded": "provider.throttled",
}
OURS_TO_MEND = {
    "AuthorizationError": "provider.authorization",
    "AuthorizationErrorException": "provider.authorization",
    "AccessDenied": "provider.authorization",
    "AccessDeniedException": "provider.authorization",
    "ExpiredToken": "provider.authorization",
    "ExpiredTokenException": "provider.authorization",
    "IncompleteSignature": "provider.authorization",
    "InvalidAccessKeyId": "provider.authorization",
    "InvalidClientTokenId": "provider.authorization",
    "InvalidSecurity": "provider.authorization",
    "MissingAuthenticationToken": "provider.authorization",
    "OptInRequired": "provider.authorization",
    "RequestExpired": "provider.clock",
    "SignatureDoesNotMatch": "provider.authorization",
    "UnrecognizedClientException": "provider.authorization",
    "LimitExceeded": "provider.spend_limit",
    "LimitExceededException": "provider.spend_limit",
    "SpendLimitExceeded": "provider.spend_limit",
}
_SPEND_WORDS = ("spend", "quota")
_BY_WORD = {
    code: Receipt(answer, reason)
    for answer, words in ((Answer.REFUSED, REFUSED), (Answer.NOT_SENT, NOT_SENT_YET), (Answer.STOPPED, OURS_TO_MEND))
    for code, reason in words.items()
}
# RFC 9110 and RFC 6585, for an answer without a word that we know.
_BY_STATUS = {
    401: Receipt(Answer.STOPPED, "provider.authorization"),
    403: Receipt(Answer.STOPPED, "provider.authorization"),
    429: Receipt(Answer.NOT_SENT, "provider.throttled"),
}


def answer_of_error(status: int, code: str, message: str) -> Receipt:
    """Return what an HTTP answer that is no success means. `code` and `message` are those of its body.

    Only a word that SNS documents refuses a text for good. A proxy's answer, or a new word of SNS, says nothing about
    the number: without a word that we know the status decides, and else the text is in doubt.
    """
    if status >= _SERVER_ERROR or status < _CLIENT_ERROR:
        return Receipt(Answer.IN_DOUBT, "provider.error")
    known = _BY_WORD.get(code)
    if (known is None or code in REFUSED) and any(word in message.lower() for word in _SPEND_WORDS):
        return Receipt(Answer.STOPPED, "provider.spend_limit")
    return known or _BY_STATUS.get(status) or Receipt(Answer.IN_DOUBT, "provider.unforeseen")


def answer_of_failure(error: BotoCoreError) -> Receipt:
    """Return what a publish without an answer means: certainly not sent only if no connection was ever there."""
    match error:
        case ConnectTimeoutError() | ProxyConnectionError() | SSLError():
            return Receipt(Answer.NOT_SENT, "provider.unreachable")
        case EndpointConnectionError():
            # aiobotocore says so of a reset in mid-request, too; the error of aiohttp beneath tells them apart.
            cause = error.kwargs.get("error")
            if isinstance(cause, aiohttp.ClientConnectorError) or not isinstance(cause, aiohttp.ClientError):
                return Receipt(Answer.NOT_SENT, "provider.unreachable")
            return Receipt(Answer.IN_DOUBT, "provider.reset")
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return Receipt(Answer.STOPPED, "provider.authorization")
        case ReadTimeoutError():
            return Receipt(Answer.IN_DOUBT, "provider.timeout")
        case _:
            return Receipt(Answer.IN_DOUBT, "provider.reset")


class SnsSender:
    """Sends one text, once, and says what SNS answered. Never raises for what SNS or the network does."""

    def __init__(self, client: SNSClient, settings: SnsSettings) -> None:
        self._client = client
        self._attributes = _attributes(settings)

    async def send(self, number: PhoneNumber, text: SmsText) -> Receipt:
        """Publish the text to the number."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                reply = await self._client.publish(
                    PhoneNumber=number.e164, Message=text.body, MessageAttributes=self._attributes
                )
        except ClientError as error:
            told = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _SERVER_ERROR)
            return answer_of_error(status, told.get("Code", ""), told.get("Message", ""))
        except BotoCoreError as error:
            return answer_of_failure(error)
        except TimeoutError:
            return Receipt(Answer.IN_DOUBT, "provider.timeout")
        return Receipt(Answer.ACCEPTED, message_id=reply["MessageId"])


def _attributes(settings: SnsSettings) -> dict[str, MessageAttributeValueTypeDef]:
    texts = {"AWS.SNS.SMS.SMSType": "Transactional"}
    if settings.sender_id is not None:
        texts["AWS.SNS.SMS.SenderID"] = settings.sender_id
    if settings.origination_number is not None:
        texts["AWS.MM.SMS.OriginationNumber"] = settings.origination_number
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        name: {"DataType": "String", "StringValue": value} for name, value in texts.items()
    }
    if settings.price_usd_max is not None:
        attributes["AWS.SNS.SMS.MaxPrice"] = {"DataType": "Number", "StringValue": f"{settings.price_usd_max:.5f}"}
    return attributes


@asynccontextmanager
async def sns_sender(settings: SnsSettings, parallel: int) -> AsyncIterator[SnsSender]:
    """Open the client with as many connections as texts in flight."""
    async with sns_client(settings, parallel) as client:
        yield SnsSender(client, settings)


@asynccontextmanager
async def sns_client(settings: SnsSettings, parallel: int) -> AsyncIterator[SNSClient]:
    """Open a client of AWS that makes no retries of its own, with so many connections."""
    config = AioConfig(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS_MAX,
        read_timeout=READ_SECONDS_MAX,
        max_pool_connections=parallel,
        # Each text is put together by us alone, and who we are never changes: the SDK need not look at every one.
        parameter_validation=False,
        user_agent="countersign",
    )
    secret = settings.secret_access_key
    client = aioboto3.Session().client(
        "sns",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=config,
    )
    async with client as opened:
        _spare_each_call(opened)
        yield opened


def _spare_each_call(client: SNSClient) -> None:
    """Take out what the SDK does at every call and SNS has no use for: a fifth of what a publish costs us.

    The handlers serve other services, and retries, which are off. Those of the session stay: a role's credentials are
    fetched with them. What is signed and sent stays the same, which a test compares with the SDK's own client.
    """
    events = client.meta.events
    for event, handler, *_ in BUILTIN_HANDLERS:
        events.unregister(event, handler)
    events.unregister("needs-retry.sns", unique_id="retry-config-sns")
    events.register("before-call.sns.Publish", _encode_once)


def _encode_once(params: dict[str, Any], **_: object) -> None:
    """Encode the form: as a dict, the SDK encodes it for the signature and once more for the request."""
    if isinstance(params["body"], dict):
        params["body"] = urlencode(params["body"])
