"""A customer on the telephone: what an account manager reads of their requests, on the whole stack."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.services.gateway.test_console_forms import at_the_console
from tests.support.customer_calls import asked, ended, run_out, stopped, too_late, undeliverable
from tests.support.frozen import frozen
from tests.support.whole_stack import new_address, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.gateway.conftest import Answer, Client
    from tests.support.whole_stack import Household, WholeStack

    Visit = Callable[..., Any]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@dataclass
class Calls:
    """A household whose members had each kind of trouble, by the name of what happened."""

    household: Household
    made: dict[str, UUID] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)


async def make_calls(visit: Visit, whole: WholeStack) -> Calls:
    """Make a request that ends in each way."""
    household = await whole.household()
    calls, owner, (max_, mia) = Calls(household), household.owner, household.managed
    address = new_address()
    async with visit(address) as me:
        calls.made["log-in"] = await asked(whole, owner, partial(me.log_in, owner))
        calls.codes.append(await me.code(owner))
        calls.made["export"] = await asked(whole, owner, partial(ask_export, me, household))
        await me.asked(f"/exports/{calls.made['export']}")
        code = await me.code(owner, 2)
        calls.codes.append(code)
        await me.give_code("000000" if code != "000000" else "111111", f"/exports/{calls.made['export']}")
        await me.give_code(code, f"/exports/{calls.made['export']}")
        assert await ended(whole, calls.made["export"]) is None
    async with visit(address) as again:
        calls.made["known place"] = await asked(whole, owner, partial(again.give_password, owner))
        assert await ended(whole, calls.made["known place"]) is None
    async with visit() as me:
        calls.made["expired"] = await asked(whole, max_, partial(me.give_password, max_))
        calls.codes.append(await me.code(max_))
        await run_out(whole, calls.made["expired"])
        calls.made["exhausted"] = await asked(whole, max_, partial(me.give_password, max_))
        await use_up(me, await me.code(max_, 2))
        assert await ended(whole, calls.made["exhausted"]) == "code.exhausted"
    async with visit() as me:
        calls.made["undeliverable"] = await undeliverable(whole, mia, partial(me.give_password, mia))
    async with visit() as me:
        calls.made["suppressed"] = await stopped(whole, mia, partial(me.give_password, mia))
        calls.made["stale"] = await too_late(whole, mia)
        calls.made["waiting"] = await asked(whole, mia, partial(me.give_password, mia))
        await me.asked()
    return calls


async def ask_export(me: Client, household: Household) -> None:
    """Ask for the household's list."""
    page = f"/contacts?list={household.list_id}"
    once = (await me.get(page)).hidden("once")
    await me.post("/exports", {"list": str(household.list_id), "format": "csv", "once": once}, page=page)


async def use_up(me: Client, code: str) -> None:
    """Enter wrong codes to the last try."""
    await me.asked()
    for nth in range(5):
        await me.give_code(f"{(int(code) + 1 + nth) % 1_000_000:06}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls(visit: Visit, whole: WholeStack) -> Calls:
    """Make the calls once for all that is read of them here."""
    return await make_calls(visit, whole)


# By what happened: the state of the page, words of the sentence, words of what to tell the customer.
SENTENCES = {
    "log-in": ("granted", "Allowed: the first code that was entered was right.", "the right code was entered"),
    "export": ("granted", "Allowed: the code was right at try 2.", "the right code was entered"),
    "known place": ("granted", "Allowed without a code: this address has used the account", "no code was needed"),
    "expired": ("denied", "the right code was not entered in time", "Ask the customer whether the text message came"),
    "exhausted": ("denied", "wrong codes were entered to the last try", "somebody else has the password"),
    "undeliverable": ("denied", "the text message could not be delivered", "the phone can get text messages"),
    "suppressed": (
        "denied",
        "we did not send the text message. Texts were stopped",
        "people on call",
    ),
    "stale": ("denied", "was too old when we looked at it", "Ask the customer to start again"),
    "waiting": ("waiting", "Waits for the code. 5 tries are left. The text message left", "Send another code"),
}
# Words of the time line, in the order in which they come.
STEPS = {
    "log-in": [
        "This address has not used the account before.",
        "Text 1 left",
        "The right code was entered.",
        "Allowed.",
    ],
    "export": ["An export of 30 contacts was asked for.", "Every export needs a code.", "4 tries are left", "released"],
    "known place": ["Our rules ask for no code. This address has used the account before.", "Allowed."],
    "expired": ["Text 1 left", "Refused: the right code was not entered in time."],
    "exhausted": ["A wrong code was entered. 0 tries are left.", "Refused: wrong codes"],
    "undeliverable": [
        "Text 1 did not leave: our provider refused it.",
        "Refused: the text message could not be delivered.",
    ],
    "suppressed": ["Text 1 was not sent. Texts were stopped at that moment.", "Refused: we did not send"],
    "stale": ["Our rules refuse it. The request was too old when we looked at it.", "Refused: the request was too old"],
    "waiting": ["A code was made, with 5 tries. Good until"],
}


@pytest.mark.parametrize("name", SENTENCES)
async def test_each_call_is_answered_from_the_page(visit: Visit, whole: WholeStack, calls: Calls, name: str) -> None:
    """What became of it, what to tell the customer, and each step in order; from the list and from the request."""
    state, sentence, advice = SENTENCES[name]
    path = f"/manager/accounts/{calls.household.account_id}/requests"
    async with visit() as me:
        await at_the_console(me, await whole.manager())
        rows = row_texts(await me.get(path))
        page = await me.get(f"{path}/{calls.made[name]}")
    row = next(text for link, text in rows if link.endswith(str(calls.made[name])))
    assert sentence.partition(". ")[0] in row
    assert page.status == 200
    assert page.state == state
    text = text_in(page)
    assert sentence in text
    assert advice in text
    steps = text.partition("What happened, step by step")[2]
    places = [steps.find(words) for words in STEPS[name]]
    assert -1 not in places, steps
    assert places == sorted(places), steps
    assert " ms later" in steps


async def test_the_account_shows_its_latest_requests(visit: Visit, whole: WholeStack, calls: Calls) -> None:
    """The newest first on the account's own page, all of them behind a link, those of a member behind another."""
    path, (max_, mia) = f"/manager/accounts/{calls.household.account_id}", calls.household.managed
    async with visit() as me:
        await at_the_console(me, await whole.manager())
        on_account = row_texts(await me.get(path))
        listed = row_texts(await me.get(f"{path}/requests"))
        of_max = await me.get(f"{path}/requests?user={max_.user_id}")
    links = [f"{path}/requests/{calls.made[name]}" for name in ("waiting", "suppressed", "undeliverable")]
    assert [link for link, _ in on_account if link in links] == links
    assert len(on_account) == 5
    assert {link.rpartition("/")[2] for link, _ in listed} == {str(one) for one in calls.made.values()}
    assert {link.rpartition("/")[2] for link, _ in row_texts(of_max)} == {
        str(calls.made[name]) for name in ("expired", "exhausted")
    }
    assert max_.name in text_in(of_max)
    assert mia.name not in text_in(of_max)


async def test_nothing_secret_is_on_these_pages(visit: Visit, whole: WholeStack, calls: Calls) -> None:
    """No number, not even a masked one, and no code."""
    path = f"/manager/accounts/{calls.household.account_id}"
    async with visit() as me:
        await at_the_console(me, await whole.manager())
        pages = [await me.get(one) for one in (path, f"{path}/requests")]
        pages += [await me.get(f"{path}/requests/{one}") for one in calls.made.values()]
    ids = [str(one) for one in (*calls.made.values(), calls.household.account_id)]
    for page in pages:
        assert page.status == 200
        text = page.text
        assert "•" not in text
        for known in (*ids, *re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}|[\w-]{43}|T[\d:.]+", text)):
            text = text.replace(known, "")
        for person in (calls.household.owner, *calls.household.managed):
            assert person.number[-6:] not in text
        assert not [code for code in calls.codes if code in text]


@pytest.mark.parametrize("of", ["another account", "nobody", "no id"])
async def test_a_request_of_others_is_not_found(visit: Visit, whole: WholeStack, calls: Calls, of: str) -> None:
    """The same page for all, and none of the request's words on it."""
    elsewhere = (await whole.household()).account_id if of == "another account" else calls.household.account_id
    named = {"another account": str(calls.made["log-in"]), "nobody": str(uuid4()), "no id": "x"}[of]
    async with visit() as me:
        await at_the_console(me, await whole.manager())
        page = await me.get(f"/manager/accounts/{elsewhere}/requests/{named}")
        assert page.status == 404
        assert "There is no such page" in page.text
        owner = calls.household.owner.user_id
        for query in (f"user={uuid4()}", "user=x", f"user={owner}" if of == "another account" else "user="):
            assert (await me.get(f"/manager/accounts/{elsewhere}/requests?{query}")).status == 404
        assert (await me.get(f"/manager/accounts/{uuid4()}/requests")).status == 404


async def test_nobody_else_comes_to_these_pages(visit: Visit, whole: WholeStack, calls: Calls) -> None:
    """Who is not logged in comes to the log-in; on the customers' site there is no such page."""
    path = f"/manager/accounts/{calls.household.account_id}/requests"
    one = f"{path}/{calls.made['log-in']}"
    async with visit() as stranger, visit() as owner:
        stranger.base = whole.console
        assert [(await stranger.get(where)).goes_to for where in (path, one)] == ["/login", "/login"]
        assert (await stranger.ask("POST", one, data={})).status == 405
        await owner.log_in(calls.household.owner)
        assert [(await owner.get(where)).status for where in (path, one)] == [404, 404]


async def test_a_part_that_is_away_is_said(visit: Visit, whole: WholeStack, calls: Calls) -> None:
    """The account's page stays usable where the time lines cannot be read; the pages of requests say it themselves."""
    path = f"/manager/accounts/{calls.household.account_id}"
    async with visit() as me, whole.database() as db:
        await at_the_console(me, await whole.manager())
        await db.execute("REVOKE SELECT ON verifier.timeline FROM enrolment")
        try:
            account, listed = await me.get(path), await me.get(f"{path}/requests")
        finally:
            await db.execute("GRANT SELECT ON verifier.timeline TO enrolment")
        assert account.status == 200
        assert "The requests cannot be shown at this moment" in account.text
        assert listed.status == 503
        assert "Not available at this moment" in listed.text
        with frozen(whole, "ENROLMENT"):
            assert (await me.get(f"{path}/requests/{calls.made['log-in']}")).status == 503
        assert (await me.get(f"{path}/requests/{calls.made['log-in']}")).status == 200


async def test_a_verifier_that_is_away_is_seen_on_the_page(
    visit: Visit, whole: WholeStack, household: Household
) -> None:
    """A request that it has not read is listed and says so; once it is back, the same page has the rest."""
    person, path = household.managed[0], f"/manager/accounts/{household.account_id}/requests"
    async with visit() as me, visit() as customer:
        await at_the_console(me, await whole.manager())
        with frozen(whole, "VERIFIER"):
            await customer.give_password(person)

            async def listed() -> bool:
                return bool(row_texts(await me.get(path)))

            await until(listed, "the request in the list")
            ((link, row),) = row_texts(await me.get(path))
            assert "Not decided yet." in row
            page = await me.get(link)
            assert page.state == "unread"
            assert "Our rules ask for a code." in text_in(page)

        async def asked_for_code() -> bool:
            return (await me.get(link)).state == "waiting"

        await until(asked_for_code, "the challenge on the page")


def row_texts(page: Answer) -> list[tuple[str, str]]:
    """Return the link and the words of each row of requests."""
    found = []
    for row in re.findall(r"<li>(.*?)</li>", page.text, re.DOTALL):
        link = re.search(r'href="([^"]+/requests/[^"]+)"', row)
        if link is not None:
            found.append((link[1], _plain(row)))
    return found


def text_in(page: Answer) -> str:
    """Return the words of the main part."""
    return _plain(page.text.partition("<main")[2].partition(">")[2])


def _plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())
