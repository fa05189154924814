"""What leaves for SNS, beside what the SDK's own client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from pydantic import SecretStr

from countersign.contract.number import PhoneNumber
from services.notifier.model import Answer, SmsText
from services.notifier.settings import SnsSettings
from services.notifier.sns import SnsSender, sns_client

if TYPE_CHECKING:
    from types_aiobotocore_sns.client import SNSClient

    from tests.support.sns_stand_in import SnsStandIn

# Who we say that we are, and what the SDK tells AWS of its own tries. None of it is signed.
_NOT_SIGNED = {"User-Agent", "amz-sdk-invocation-id", "amz-sdk-request"}
_TEXT = SmsText("Ünïcode & co: 123456 is your code = +46 70~*\n@app.example.com #123456")


def _note(client: SNSClient, into: list[Any]) -> None:
    """Note each request as it is ready to leave."""
    client.meta.events.register("before-send.sns.Publish", lambda request, **_: into.append(request))


async def _requests(settings: SnsSettings) -> tuple[Any, Any]:
    """Publish one text by our client and by the SDK's own, until both are signed for the same second."""
    ours: list[Any] = []
    theirs: list[Any] = []
    plain = aioboto3.Session().client(
        "sns",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key and settings.secret_access_key.get_secret_value(),
    )
    async with sns_client(settings, 1) as client, plain as other:
        _note(client, ours)
        _note(other, theirs)
        for _ in range(20):
            for sender in (SnsSender(client, settings), SnsSender(other, settings)):
                receipt = await sender.send(PhoneNumber("+46701740605", "SE"), _TEXT)
                assert receipt.answer is Answer.ACCEPTED
            if ours[-1].headers["X-Amz-Date"] == theirs[-1].headers["X-Amz-Date"]:
                return ours[-1], theirs[-1]
    raise AssertionError("never within one second")


@pytest.mark.parametrize("price", [None, "0.05"])
async def test_what_we_take_out_of_the_sdk_changes_nothing_that_it_signs(sns: SnsStandIn, price: str | None) -> None:
    """The same bytes, the same headers and the same signature as without our client's savings."""
    settings = SnsSettings(
        endpoint_url=sns.url,
        access_key_id="AKIAEXAMPLE",
        secret_access_key=SecretStr("of-a-test"),
        sender_id="Example",
        price_usd_max=price,
    )
    ours, theirs = await _requests(settings)
    assert (ours.method, ours.url, ours.body) == (theirs.method, theirs.url, theirs.body)
    mine, plain = dict(ours.headers), dict(theirs.headers)
    assert mine.keys() | _NOT_SIGNED == plain.keys() | _NOT_SIGNED
    assert {name: mine[name] for name in mine.keys() - _NOT_SIGNED} == {
        name: plain[name] for name in plain.keys() - _NOT_SIGNED
    }
    assert mine["Authorization"].startswith(b"AWS4-HMAC-SHA256 ")
