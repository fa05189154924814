"""Violations to plant in a clean world, each in a function that says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from countersign.contract import challenge_id_of
from tests.support.drive import Told
from tests.support.events import a_member_set, an_sms_unknown
from tests.support.grants import Signer
from tests.support.hand_made import BEARER, NUMBER, Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import Row, Text


def dispatch(story: Story) -> Row:
    """Return the dispatch of the login by code."""
    return story.made.row("notifier.dispatch", challenge_id=challenge_id_of(story.by_code.request_id))


def text(story: Story) -> Text:
    return story.world.texts[0]


# 1. grants


def granted_without_an_answer(story: Story) -> None:
    story.world.tables["verifier.answer"] = [row for row in story.world.table("verifier.answer") if not row["accepted"]]


def granted_without_an_allow(story: Story) -> None:
    request = story.made.request()
    story.made.assess(request)
    story.made.grant(request, "none")


def granted_on_a_forged_allow(story: Story) -> None:
    key = story.world.keys.assessments
    story.world.keys = replace(story.world.keys, assessments=dict.fromkeys(key, b"x" * 32))


def granted_by_another_key(story: Story) -> None:
    request = story.made.request()
    story.made.assess(request)
    story.made.answer(story.made.challenge(request), accepted=True)
    story.made.signer = Signer()
    story.made.grant(request, "sms")


def export_granted_without_a_code(story: Story) -> None:
    request = story.made.request(action="export")
    story.made.assess(request, outcome="allow", reasons=["two_factor.off"])
    story.made.grant(request, "none")


def granted_from_a_new_place(story: Story) -> None:
    request = story.made.request()
    story.made.assess(request, outcome="allow", reasons=["ip.known"], place_known=True, place="198.51.100.9/32")
    story.made.grant(request, "none")


def file_without_a_grant(story: Story) -> None:
    story.made.add("exports.export", export_id=uuid4(), state="ready")


def told_a_grant_of_nobody(story: Story) -> None:
    challenge_id = challenge_id_of(story.expired.request_id)
    story.world.told.append(Told(challenge_id, uuid4(), "over", 0, grant="header.claims.signature"))


# 2. decisions


def decided_twice(story: Story) -> None:
    story.made.deny(story.by_code, "cancelled")


def granted_twice_with_other_grants(story: Story) -> None:
    story.made.grant(story.known, "none")


def decided_and_never_published(story: Story) -> None:
    story.world.records["access.decisions.v1"].pop()


def published_and_not_stored(story: Story) -> None:
    story.world.tables["verifier.decision"].pop()


# 3. and 4. answers


def redeemed_twice(story: Story) -> None:
    story.made.answer(challenge_id_of(story.by_code.request_id), accepted=True)


def told_accepted_twice(story: Story) -> None:
    story.world.told.append(Told(challenge_id_of(story.by_code.request_id), uuid4(), "accepted", 4))


def told_accepted_and_was_not(story: Story) -> None:
    story.world.told.append(Told(challenge_id_of(story.expired.request_id), uuid4(), "accepted", 4))


def six_tries(story: Story) -> None:
    for _ in range(6):
        story.made.answer(challenge_id_of(story.expired.request_id), accepted=False)


def six_told(story: Story) -> None:
    challenge_id = challenge_id_of(story.expired.request_id)
    story.world.told += [Told(challenge_id, uuid4(), "wrong", 1) for _ in range(6)]


def tries_not_counted(story: Story) -> None:
    challenge_id = challenge_id_of(story.expired.request_id)
    story.made.answer(challenge_id, accepted=False)
    story.made.row("verifier.challenge", challenge_id=challenge_id)["attempts"] = 0


# 8. ends


def never_assessed(story: Story) -> None:
    story.made.request()


def never_decided(story: Story) -> None:
    story.made.assess(story.made.request())


def unreadable_and_kept_nowhere(story: Story) -> None:
    topic = story.world.records["access.requests.v1"]
    topic.append(replace(topic[0], value=b"{", offset=len(topic)))


# 11. leaks


def code_on_a_topic(story: Story) -> None:
    topic = story.world.records["sms.deliveries.v1"]
    topic[0] = replace(topic[0], value=f'{{"code": "{text(story).code}"}}'.encode())


def code_in_a_header(story: Story) -> None:
    topic = story.world.records["sms.deliveries.v1"]
    topic[0] = replace(topic[0], headers=(*topic[0].headers, ("note", text(story).code.encode())))


def code_in_a_column(story: Story) -> None:
    dispatch(story)["reason"] = f"sent {text(story).code}"


def code_in_a_log(story: Story) -> None:
    story.world.written["notifier-0.log"] = f'{{"body": "{text(story).code} is your code"}}'


def number_in_a_log(story: Story) -> None:
    story.world.written["notifier-0.log"] = f"publish to {NUMBER}"


def number_in_bytes(story: Story) -> None:
    dispatch(story)["event"] = b'{"PhoneNumber": "%s"}' % NUMBER.encode()


def bearer_in_a_log(story: Story) -> None:
    story.world.written["gateway-0.log"] = f"Authorization: Bearer {BEARER}"


def grant_in_a_log(story: Story) -> None:
    grant = story.made.signer.sign({"jti": str(uuid4()), "sub": str(uuid4())})
    story.world.written["gateway-0.log"] = f"granted {grant}"


# 12. to 14.


def judged_after_the_end(story: Story) -> None:
    challenge_id = challenge_id_of(story.expired.request_id)
    story.made.at += timedelta(minutes=5)
    story.made.answer(challenge_id, accepted=False)


def expired_before_the_end(story: Story) -> None:
    decision = story.made.row("verifier.decision", reason="code.expired")
    decision["decided_at"] -= timedelta(minutes=5)


def outbox_left(story: Story) -> None:
    story.made.add("verifier.outbox", event_id=uuid4())


def setting_never_published(story: Story) -> None:
    story.made.add("enrolment.setting_change", account_id=story.made.account_id, version=2)


def offset_ahead(table: str) -> Callable[[Story], None]:
    """Plant a record that was passed over: nothing in the table came of it."""

    def plant(story: Story) -> None:
        story.world.tables[table] = []

    return plant


def member_passed_over(story: Story) -> None:
    story.made.publish(a_member_set(account_id=story.made.account_id, user_id=story.made.user_id, version=2))


def waiting_export(story: Story) -> None:
    story.made.row("exports.export", export_id=story.export.request_id)["state"] = "waiting"


def still_claimed(story: Story) -> None:
    dispatch(story)["state"] = "claimed"


def doubt_called_accepted(story: Story) -> None:
    story.world.texts[0] = replace(text(story), fate="in_doubt")


def reached_and_called_refused(story: Story) -> None:
    dispatch(story)["state"] = "refused"


def accepted_and_never_sent(story: Story) -> None:
    del story.world.texts[0]


def two_ends_on_the_topic(story: Story) -> None:
    row = dispatch(story)
    story.made.publish(an_sms_unknown(challenge_id=row["challenge_id"], send=1))


def verifier_says_otherwise(story: Story) -> None:
    story.made.row("verifier.send", challenge_id=dispatch(story)["challenge_id"])["state"] = "sending"
