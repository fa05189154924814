"""An account that the platform's events alone made, by somebody who is no part of the demonstration, on the pages."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.browser.settings import asks_in_security, code_to, log_in_without_code, new_number, press
from tests.support.events import a_member_set, outgoing
from tests.support.kafka import publish
from tests.support.whole_stack import Person, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


def a_person(account_id: UUID, role: str, name: str) -> Person:
    mark = secrets.token_hex(4)
    return Person(
        user_id=uuid4(),
        account_id=account_id,
        role=role,
        name=f"{name} {mark}",
        email=f"{name.lower()}.{mark}@example.com",
        password=secrets.token_urlsafe(12),
        number=new_number(),
        number_id=uuid4(),
    )


async def made_by_events(whole: WholeStack) -> tuple[Person, Person]:
    """Let a platform add an owner and a managed user: passwords at its gateway, members by events, no numbers."""
    account_id = uuid4()
    people = (a_person(account_id, "owner", "Nora"), a_person(account_id, "managed", "Per"))
    await whole.sow_gateway({
        "account_id": str(account_id),
        "staff_account_id": str(uuid4()),
        "two_factor": False,
        "people": [
            {name: str(value) if isinstance(value, UUID) else value for name, value in vars(one).items()}
            for one in people
        ],
        "lists": [],
    })  # fmt: skip
    told = [
        outgoing(a_member_set(account_id=account_id, user_id=one.user_id, role=one.role, name=one.name))
        for one in people
    ]
    await publish(whole.kafka, *told)

    async def enrolled() -> bool:
        async with whole.database() as db:
            known = await db.fetchval("SELECT count(*) FROM enrolment.member WHERE account_id = $1", account_id)
        return bool(known == len(people))

    await until(enrolled, "the members")
    return people


async def test_from_two_events_to_a_protected_account(computer: Computers, whole: WholeStack) -> None:
    """M9, M10, M13, M14: by the name at the top to the box; who lacks a number is named; one Save; the code obeys."""
    owner, managed = await made_by_events(whole)
    async with computer() as me:
        await log_in_without_code(me, owner)
        await me.page.get_by_role("link", name=f"Hi {owner.name}!").click()
        await me.reads("Security")
        await me.page.check("#two_factor")
        await me.page.fill("#number", owner.number)
        await press(me, "Send code")
        await me.reads(managed.name)
        await me.page.get_by_role("link", name=f"Give {managed.name} a number").click()
        await me.page.fill("#number", managed.number)
        await press(me, "Save")
        await me.reads("has the number")
        await me.page.check("#two_factor")
        await me.page.fill("#number", owner.number)
        await press(me, "Send code")
        await asks_in_security(me)
        await me.page.fill("#code", await code_to(me, owner.number))
        await press(me, "Save")
        await me.reads(f"On. Codes go to the number ending {owner.number[-2:]}")
    async with computer() as theirs:
        await theirs.give_password(managed)
        await theirs.asked_for_code()
        await theirs.give_code(await code_to(theirs, managed.number))
        await theirs.signed_in(managed)
