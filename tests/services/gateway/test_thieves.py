"""Forms made by hand with a session and without the phone, and what a person who was removed still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.events import a_member_removed, outgoing
from tests.support.kafka import publish
from tests.support.whole_stack import new_number, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.gateway.conftest import Answer, Client
    from tests.support.whole_stack import Household, Person, WholeStack

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers

_STATES = "SELECT state, right(hint, 2) FROM enrolment.phone_number WHERE user_id = $1 ORDER BY 1, 2"


async def numbers_of(whole: WholeStack, person: Person) -> list[tuple[str, ...]]:
    """Return the states and last digits of all that a person's numbers are."""
    async with whole.database() as db:
        return [tuple(row) for row in await db.fetch(_STATES, person.user_id)]


async def only_given(whole: WholeStack, *people: Person) -> None:
    """Let people have numbers that they have not confirmed, which an owner may change."""
    async with whole.database() as db:
        await db.execute(
            "UPDATE enrolment.phone_number SET state = 'provided', confirmed_at = NULL WHERE user_id = ANY($1::uuid[])",
            [person.user_id for person in people],
        )


def path_of(person: Person) -> str:
    """Return the page of another's number."""
    return f"/account/users/{person.user_id}/number"


async def ask_for(thief: Client, person: Person, number: str) -> Answer:
    """Give somebody a number, up to the page that asks for the owner's code."""
    page = await thief.get(path_of(person))
    form = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "do": "send", "number": number}
    assert (await thief.ask("POST", path_of(person), data=form)).goes_to == path_of(person)
    return await thief.asked(path_of(person))


def form_of(page: Answer, **fields: str) -> dict[str, str]:
    """Return what the code box sends."""
    return {**{name: page.hidden(name) for name in ("csrf", "once", "step")}, **fields}


async def test_a_thief_gives_nobody_a_number(visit: Visit, whole: WholeStack, household: Household) -> None:
    """With the owner's session: the code goes to the owner, guesses change nothing, and neither does another's form."""
    owner, (one, other) = household.owner, household.managed
    await only_given(whole, one, other)
    before = [await numbers_of(whole, person) for person in (one, other)]
    mine = new_number()
    async with visit() as thief:
        await thief.log_in(owner)
        page = await ask_for(thief, one, mine)
        for guess in ("000000", "111111", ""):
            await thief.ask("POST", path_of(one), data=form_of(page, do="answer", code=guess))
        for target in (other, one):  # without any code, and as if the step were another's
            await thief.ask("POST", path_of(target), data=form_of(page, do="go_on"))
            await thief.ask("POST", path_of(target), data=form_of(page, do="confirm", number=mine))
        assert await whole.texts(mine) == []
    assert [await numbers_of(whole, person) for person in (one, other)] == before


async def test_a_code_for_one_member_gives_no_other_a_number(
    visit: Visit, whole: WholeStack, household: Household
) -> None:
    """The owner's right code, sent to another member's page, is not taken; at its own page it is."""
    owner, (one, other) = household.owner, household.managed
    await only_given(whole, one, other)
    before = await numbers_of(whole, other)
    given = new_number()
    async with visit() as me:
        await me.log_in(owner)
        seen = len(await whole.texts(owner.number))
        page = await ask_for(me, one, given)
        code = await whole.code(owner.number, "", seen + 1)
        await me.ask("POST", path_of(other), data=form_of(page, do="answer", code=code))
        assert await numbers_of(whole, other) == before
        await me.ask("POST", path_of(one), data=form_of(page, do="answer", code=code))

        async def has_it() -> bool:
            await me.get(path_of(one))
            return ("provided", given[-2:]) in await numbers_of(whole, one)

        await until(has_it, "the number")
        assert await numbers_of(whole, other) == before


async def test_an_owner_gives_nobody_of_another_account_a_number(
    visit: Visit, whole: WholeStack, household: Household
) -> None:
    """Neither the page nor a form made by hand."""
    stranger = (await whole.household()).managed[0]
    before = await numbers_of(whole, stranger)
    async with visit() as me:
        await me.log_in(household.owner)
        assert (await me.get(path_of(stranger))).status == 404
        token = (await me.get("/account")).hidden("csrf")
        form = {"csrf": token, "do": "send", "number": new_number()}
        assert (await me.ask("POST", path_of(stranger), data=form)).status == 404
    assert await numbers_of(whole, stranger) == before


async def test_who_is_removed_is_out(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The open challenge's right code lets nobody in, and the session of before is over."""
    person = household.managed[0]
    async with visit() as inside, visit() as me:
        await inside.log_in(person)
        await me.give_password(person)
        page = await me.asked()
        code = await me.code(person)
        removed = a_member_removed(account_id=household.account_id, user_id=person.user_id, version=9)
        await publish(whole.kafka, outgoing(removed))

        async def is_out() -> bool:
            return bool((await inside.get("/account")).goes_to == "/login")

        await until(is_out, "the end of the session")
        form = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "do": "answer", "code": code}
        answer = await me.ask("POST", "/login/code", data=form)
        for path in ("/login/code", "/"):
            assert "Hi " not in (await me.get(path)).text, answer.status
        assert (await me.get("/account")).goes_to == "/login"
