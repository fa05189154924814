"""M3 and M8 of the mission in a real browser, with its scripts and without."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.support.whole_stack import new_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.person import Computer
    from tests.support.whole_stack import Household

    Computers = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.browser]


async def _download(me: Computer) -> str:
    async with me.page.expect_download() as started:
        await me.page.click("a[download]")
    return Path(await (await started.value).path()).read_text(encoding="utf-8-sig")  # noqa: ASYNC240 - a small file


async def test_every_export_asks_for_a_code(computer: Computers, household: Household) -> None:
    """M3: right after a login with a code, and again from a known address; a login's code opens no export."""
    address = new_address()
    async with computer(address=address) as me:
        await me.log_in(household.owner)
        login_code = await me.read_code(household.owner)
        await me.ask_export(household)
        await me.give_code(login_code)
        await me.reads("This code is not right")
        await me.give_code(await me.read_code(household.owner, nth=2))
        await expect(me.page.locator("a[download]")).to_be_visible()
    async with computer(address=address) as known:
        await known.give_password(household.owner)
        await known.signed_in(household.owner)
        await known.ask_export(household, "jsonl")


async def test_from_waiting_to_the_file(computer: Computers, household: Household) -> None:
    """M8: waiting, code box, ready, download; the file holds the list's contacts."""
    async with computer() as me:
        await me.log_in(household.owner)
        await me.ask_export(household)
        await me.reads(f"To export “{household.list_name}”")
        await me.reads(f"••{household.owner.number[-2:]}")
        await me.give_code(await me.read_code(household.owner, nth=2))
        await me.reads("Your file is ready")
        rows = list(csv.DictReader(io.StringIO(await _download(me))))
        assert sorted(row["email"] for row in rows) == sorted(household.contacts)


async def test_json_lines(computer: Computers, household: Household) -> None:
    """M8: the other format."""
    async with computer() as me:
        await me.log_in(household.owner)
        await me.ask_export(household, "jsonl")
        await me.give_code(await me.read_code(household.owner, nth=2))
        await me.reads("Your file is ready")
        rows = [json.loads(line) for line in (await _download(me)).splitlines()]
        assert sorted(row["email"] for row in rows) == sorted(household.contacts)


async def test_closing_the_page_loses_nothing(computer: Computers, household: Household) -> None:
    """M8: the page is closed at the code box and again when the file is ready; the start page leads back."""
    async with computer() as me:
        await me.log_in(household.owner)
        await me.ask_export(household)
        for opened in ("#code", "a[download]"):
            await me.page.close()
            me.page = await me.page.context.new_page()
            await me.open("/")
            await me.page.click("text=Open")
            await expect(me.page.locator(opened)).to_be_visible()
            if opened == "#code":
                await me.give_code(await me.read_code(household.owner, nth=2))
                await expect(me.page.locator("a[download]")).to_be_visible()
        assert len((await _download(me)).splitlines()) == len(household.contacts) + 1


async def test_another_browser_of_the_same_user_gets_neither_code_box_nor_file(
    computer: Computers, household: Household
) -> None:
    """The file goes to the browser that asked; the other one is told so, and its start page lists nothing."""
    address = new_address()
    async with computer(address=address) as me, computer(address=address) as other:
        await me.log_in(household.owner)
        await me.ask_export(household)
        export = me.page.url
        await other.give_password(household.owner)
        await other.signed_in(household.owner)
        await expect(other.page.locator("text=Open")).to_have_count(0)
        await other.page.goto(export)
        await other.reads("This export belongs to another log-in")
        await other.not_asked_for_code()
        await me.give_code(await me.read_code(household.owner, nth=2))
        await me.reads("Your file is ready")
        for path in ("", "/file"):
            await other.page.goto(export + path)
            await other.reads("This export belongs to another log-in")
        assert len((await _download(me)).splitlines()) == len(household.contacts) + 1


async def test_cancelled_and_other_peoples_exports(computer: Computers, household: Household) -> None:
    """M8: a cancelled export says so; a colleague who knows its address sees nothing, and no code box."""
    address = new_address()
    async with computer(address=address) as me, computer(address=address) as colleague:
        await me.log_in(household.owner)
        await me.ask_export(household)
        export = me.page.url
        await colleague.give_password(household.managed[0])
        await colleague.signed_in(household.managed[0])
        for path in ("", "/file"):
            await colleague.page.goto(export + path)
            await colleague.reads("There is no such page")
        await me.page.click("button[value=cancel]")
        await me.reads(f"You cancelled the export of “{household.list_name}”")
        await me.page.goto(export)
        await me.reads("This code was cancelled")
        await me.not_asked_for_code()
