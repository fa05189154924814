"""What a person does on the settings pages, and accounts whose numbers are missing or not confirmed."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.browser.person import Computer
    from tests.support.whole_stack import Household, Person, WholeStack

# Numbers of Sweden's range for fiction, one a use: a phone then holds the texts of one test.
_FICTION = count(605)

TAKE_AWAY = "DELETE FROM enrolment.phone_number WHERE user_id = ANY($1::uuid[])"
ONLY_GIVEN = """
UPDATE enrolment.phone_number SET state = 'provided', confirmed_at = NULL WHERE user_id = ANY($1::uuid[])
"""


def new_number() -> str:
    """Return a number that no other test uses."""
    nth = next(_FICTION)
    assert nth < 700, "the range for fiction is used up"
    return f"+4670174{nth:04}"


async def household_off(
    whole: WholeStack, *, missing: Iterable[int] = (), given: Iterable[int] = (), for_show: bool = False
) -> Household:
    """Make an account with two-factor off; of its people (0 is the owner) some have no number, some a given one."""
    made = await whole.household(two_factor=False, for_show=for_show)
    people = (made.owner, *made.managed)
    async with whole.database() as db:
        await db.execute(TAKE_AWAY, [people[nth].user_id for nth in missing])
        await db.execute(ONLY_GIVEN, [people[nth].user_id for nth in given])
    return made


async def stale_password(whole: WholeStack, person: Person) -> None:
    """Let the person's sessions have given the password long ago."""
    async with whole.database() as db:
        await db.execute(
            "UPDATE gateway.session SET password_at = now() - interval '6 minutes' WHERE user_id = $1", person.user_id
        )


async def log_in_without_code(me: Computer, person: Person) -> None:
    """Log in to an account that is not protected."""
    await me.give_password(person)
    await me.signed_in(person)


async def code_to(me: Computer, number: str, seen: int = 0) -> str:
    """Wait for the text after `seen` others to a number, and return its code."""
    return await me.whole.code(number, "", seen + 1)


async def texts_to(me: Computer, number: str) -> int:
    """Return how many texts a number has had."""
    return len(await me.whole.texts(number))


async def press(me: Computer, button: str) -> None:
    """Press a button of the main part by its name."""
    await me.page.get_by_role("main").get_by_role("button", name=button, exact=True).click()


async def asks_in_security(me: Computer) -> None:
    """Find the code box in the Security section."""
    await expect(me.page.locator("#security-section #code")).to_be_visible()


async def is_on(whole: WholeStack, household: Household) -> bool:
    """Tell whether two-factor is on, as enrolment has it."""
    async with whole.database() as db:
        return bool(
            await db.fetchval("SELECT two_factor FROM enrolment.account WHERE account_id = $1", household.account_id)
        )
