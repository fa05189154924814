"""Forms as a person meets them: two tabs, Back and Reload, the newest text, the menu, and a service that is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.support.frozen import frozen
from tests.support.whole_stack import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]
# As if the challenge were so much older; its code stays good.
LET_WAIT = """
UPDATE verifier.send s SET issued_at = s.issued_at - interval '61 s' FROM verifier.challenge c
 WHERE c.challenge_id = s.challenge_id AND c.user_id = $1
"""


async def test_two_tabs(computer: Computers, household: Household) -> None:
    """Logged in on one page, the other goes on to the code and then to the start page, and keeps no dead form."""
    async with computer() as me:
        second, third = [await me.page.context.new_page() for _ in range(2)]
        for page in (second, third):
            await page.goto(f"{me.whole.gateway}/login")
            await page.fill("#email", household.owner.email)
            await page.fill("#password", household.owner.password)
        await me.give_password(household.owner)
        await me.asked_for_code()
        await second.click("main button")
        await expect(second.locator("#code")).to_be_visible()
        await expect(second.locator("main")).to_contain_text("You logged in on another page of this browser")
        await me.give_code(await me.read_code(household.owner))
        await me.signed_in(household.owner)
        await third.click("main button")
        await expect(third.locator("h1")).to_contain_text("Welcome")
        assert len(await me.whole.texts(household.owner.number)) == 1


async def test_what_was_typed_stays(computer: Computers, household: Household) -> None:
    """After a wrong password, and where the form was open for too long: the e-mail, and the focus on the next field."""
    async with computer() as me:
        await me.give_password(household.owner, "wrong")
        await me.reads("The e-mail address or the password is not right")
        await expect(me.page.locator("#email")).to_have_value(household.owner.email)
        await expect(me.page.locator("#password")).to_be_focused()
        await me.page.context.add_cookies([{"name": "session", "value": "A" * 43, "url": me.whole.gateway}])
        await me.page.fill("#password", household.owner.password)
        await me.page.click("main button")
        await me.reads("This page was open for too long")
        await expect(me.page.locator("#email")).to_have_value(household.owner.email)
        await expect(me.page.locator("#password")).to_be_focused()


async def test_back_and_reload_send_nothing_again(computer: Computers, household: Household) -> None:
    """Whatever a form led to came with a redirect, so the history holds no form; the problem is told once."""
    async with computer() as me:
        posts: list[str] = []
        await me.give_password(household.owner, "wrong")
        await me.reads("is not right")
        me.page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        await me.page.reload()
        await expect(me.page.locator(".error")).to_have_count(0)
        await me.page.go_back()
        await me.page.go_forward()
        assert posts == []
        await me.give_password(household.owner)
        await me.asked_for_code()
        await me.give_code("letters")
        await me.reads("Enter the digits of the code")
        sent = len(posts)
        await me.page.reload()
        await me.asked_for_code()
        await expect(me.page.locator(".error")).to_have_count(0)
        assert len(posts) == sent


async def test_the_newest_text(computer: Computers, whole: WholeStack, household: Household, *, script: bool) -> None:
    """After another text: when it was sent, in the reader's zone or in UTC; an older code is told to be that."""
    async with computer(timezone_id="Asia/Kolkata") as me:
        await me.give_password(household.owner)
        await me.asked_for_code()
        first = await me.read_code(household.owner)
        for nth in (2, 3):
            async with whole.database() as db:
                await db.execute(LET_WAIT, household.owner.user_id)
            await me.open("/login/code")
            await me.page.click("button[value=resend]")
            await me.read_code(household.owner, nth)

        async def is_said() -> bool:  # once the verifier has heard that the text left; without scripts at a reload
            await me.open("/login/code")
            return "Use the newest text" in await me.page.inner_text("main")

        await until(is_said, "the sentence")
        shown = await me.page.inner_text("#text time")
        sent_at = await me.page.get_attribute("#text time", "datetime")
        there = (
            await me.page.evaluate("t => new Date(t).toLocaleTimeString('en-GB').slice(0, 5)", sent_at)
            if script
            else ""
        )
        assert shown == (there if script else f"{(sent_at or '')[11:16]} UTC")
        await me.give_code(first)
        await me.reads("This is an older code")
        await me.reads("4 tries left")
        await me.give_code(await me.read_code(household.owner, 3))
        await me.signed_in(household.owner)


async def test_the_menu(computer: Computers, household: Household, *, script: bool) -> None:
    """Pointing, focusing and the arrow open it; the name itself leads to the overview; Escape closes it."""
    async with computer() as me:
        await me.log_in(household.owner)
        items, name = me.page.locator(".menu .items"), me.page.locator(".menu .who")
        await expect(items).to_be_hidden()
        await name.hover()
        await expect(items).to_be_visible()
        await me.page.mouse.move(5, 600)
        await expect(items).to_be_hidden()
        await name.focus()
        await expect(items).to_be_visible()
        for _ in range(2):
            await me.page.keyboard.press("Tab")
        await expect(items.locator("a").first).to_be_focused()
        if script:
            await me.page.keyboard.press("Escape")
            await expect(items).to_be_hidden()
        await me.open("/")
        await me.page.click(".menu summary")
        await me.page.mouse.move(5, 600)
        await expect(items).to_be_visible()
        for text, address in (("Account settings", "/account"), ("Change number", "/account/number")):
            assert await items.locator(f"text={text}").get_attribute("href") == address
        await name.click()
        await expect(me.page).to_have_url(f"{me.whole.gateway}/account")


async def test_a_tap_opens_the_menu_and_the_next_one_the_overview(
    computer: Computers, household: Household, *, script: bool
) -> None:
    """On a phone; without a script the name leads to the overview at once."""
    async with computer(width=390, has_touch=True) as me:
        await me.log_in(household.owner)
        await me.page.tap(".menu .who")
        if script:
            await expect(me.page.locator(".menu .items")).to_be_visible()
            assert me.page.url == f"{me.whole.gateway}/"
            await me.page.tap(".menu .who")
        await expect(me.page).to_have_url(f"{me.whole.gateway}/account")


async def test_kafka_away(computer: Computers, whole: WholeStack, household: Household) -> None:
    """A page within five seconds that stays until the service is back, and leads on with what was typed."""
    async with computer() as me:
        await me.open("/login")
        with frozen(whole, "KAFKA"):
            await me.give_password(household.owner)
            await me.reads("Not available at this moment")
            await me.page.wait_for_timeout(6_000)
            await me.reads("Not available at this moment")
        await me.reads("You can go on")
        await me.page.click("main a.button")
        await expect(me.page.locator("#email")).to_have_value(household.owner.email)
        await me.give_password(household.owner)
        await me.asked_for_code()


async def test_a_text_that_takes_long(
    computer: Computers, whole: WholeStack, household: Household, *, script: bool
) -> None:
    """With the notifier frozen the page says so after 15 s, and no longer promises a code at once."""
    async with computer() as me:
        with frozen(whole, "NOTIFIER"):
            await me.give_password(household.owner)
            await me.reads("We are sending a code")
            await me.page.wait_for_timeout(16_000)
            if not script:  # only a script looks again while somebody types
                await me.open("/login/code")
            await me.reads("takes longer than usual")
        await me.read_code(household.owner)
