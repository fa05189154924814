"""Who exists, whose password it was, and how often anybody may try."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from services.gateway.decide import EMAIL_RATE, PLACE_RATE
from tests.support.whole_stack import Household, WholeStack, new_address

if TYPE_CHECKING:
    from collections.abc import Callable

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers


def _without_tokens(page: str, email: str) -> str:
    lines = [line for line in page.splitlines() if 'type="hidden"' not in line]
    return "\n".join(lines).replace(email, "")


async def test_who_exists_is_told_by_nothing(visit: Visit, whole: WholeStack, household: Household) -> None:
    """Unknown address, wrong password, an account manager's address at the wrong site: one status, one page."""
    tried = [
        (household.owner.email, "not it"),
        (f"nobody.{household.owner.email}", "not it"),
        (whole["DEMO_MANAGER2_EMAIL"], whole["DEMO_MANAGER2_PASSWORD"]),
        (f"{household.account_id}" + "x" * 5_000, "not it"),
        (f"not an address {household.account_id}", "not it"),
        (household.owner.email, household.owner.password + "x" * 2_000),
    ]
    async with visit() as me:
        answers = [(email, await me.post("/login", {"email": email, "password": word})) for email, word in tried]
        assert {answer.problem for _, answer in answers} == {"wrong"}
        assert len({_without_tokens(answer.text, email[:254]) for email, answer in answers}) == 1


async def test_an_unknown_address_costs_the_same(visit: Visit, household: Household) -> None:
    """The medians of both are within a third of each other; a hash is what takes the time."""
    spent: dict[str, list[float]] = {household.owner.email: [], f"nobody.{household.owner.email}": []}
    async with visit() as me:
        token = (await me.get("/login")).hidden("csrf")
        for _ in range(EMAIL_RATE.burst - 1):
            for email, times in spent.items():  # by turns, so that a busy machine slows both
                began = time.perf_counter()
                answer = await me.ask("POST", "/login", data={"csrf": token, "email": email, "password": "not it"})
                times.append(time.perf_counter() - began)
                assert answer.goes_to == "/login"
    known, unknown = (statistics.median(times) for times in spent.values())
    assert 0.67 < known / unknown < 1.5, (known, unknown)


async def test_tries_are_limited_for_an_address_from_strange_places(visit: Visit, household: Household) -> None:
    """Ten at once, from wherever; then the right password has to wait as well, and is told how long."""
    for _ in range(EMAIL_RATE.burst):
        async with visit() as stranger:
            assert (await stranger.give_password(household.owner, "guess")).problem == "wrong"
    async with visit() as stranger:
        answer = await stranger.give_password(household.owner)
        assert answer.problem == "limited"
        assert "Try again in" in answer.alert()


async def test_nobody_outside_locks_the_owner_out(visit: Visit, household: Household) -> None:
    """The computer that the account knows has tries of its own."""
    home = new_address()
    async with visit(home) as me:
        await me.log_in(household.owner)
    for _ in range(EMAIL_RATE.burst + 1):
        async with visit() as stranger:
            answer = await stranger.give_password(household.owner, "guess")
    assert answer.problem == "limited"
    async with visit(home) as me:
        assert (await me.give_password(household.owner)).goes_to == "/login/code"
        assert (await me.get("/login/code")).goes_to == "/"


async def test_an_address_that_nobody_has_is_limited_alike(visit: Visit) -> None:
    """From one place nobody learns from the limit who exists."""
    async with visit() as stranger:
        form = {"email": f"nobody.{stranger.address}@example.com", "password": "guess"}
        told = [(await stranger.post("/login", form)).problem for _ in range(EMAIL_RATE.burst + 1)]
    assert told == ["wrong"] * EMAIL_RATE.burst + ["limited"]


async def test_a_place_is_limited(visit: Visit) -> None:
    """Whoever tries many addresses from one place is stopped, also when all come at once."""
    async with visit() as stranger:
        token = (await stranger.get("/login")).hidden("csrf")

        async def guess(n: int) -> str:
            form = {"csrf": token, "email": f"{n}.{stranger.address}@example.com", "password": "guess"}
            while True:
                # In cookies of its own, as all tell one browser their problem at once.
                async with visit(stranger.address) as same:
                    same.hold(stranger.cookie())
                    answer = await same.send("/login", form)
                if answer.problem != "busy":  # more at once than may wait for a hash; that counts no try
                    return answer.problem

        told = await asyncio.gather(*(guess(n) for n in range(PLACE_RATE.burst + 5)))
        assert (told.count("wrong"), told.count("limited")) == (PLACE_RATE.burst, 5)


async def test_a_browser_that_has_logged_in_before_is_not_locked_out(visit: Visit, household: Household) -> None:
    """At a place it never was at, while outsiders have used up the tries of its e-mail; the log-out changes nothing."""
    async with visit() as me:
        await me.log_in(household.owner)
        await me.post("/logout", {}, page="/")
        device = me.device()
    for _ in range(EMAIL_RATE.burst + 1):
        async with visit() as stranger:
            answer = await stranger.give_password(household.owner, "guess")
    assert answer.problem == "limited"
    async with visit() as travelling, visit() as another, visit() as forger:
        travelling.hold_device(device)
        assert (await travelling.give_password(household.owner)).goes_to == "/login/code"
        assert (await travelling.asked()).state == "code"  # it saves no code: it is no authenticator
        another.hold_device(device)
        assert (await another.give_password(household.managed[0], "guess")).problem == "wrong"  # nobody else's cookie
        forger.hold_device(device[:-2] + "AA")
        assert (await forger.give_password(household.owner)).problem == "limited"


async def test_a_copied_device_cookie_opens_one_bucket(visit: Visit, household: Household) -> None:
    """Ten tries, wherever they come from; then it waits as everybody does. The real browser's place stays open."""
    home = new_address()
    async with visit(home) as me:
        await me.log_in(household.owner)
        device = me.device()
    told = []
    for _ in range(EMAIL_RATE.burst + 2):
        async with visit() as thief:
            thief.hold_device(device)
            told.append((await thief.give_password(household.owner, "guess")).problem)
    assert told == ["wrong"] * EMAIL_RATE.burst + ["limited"] * 2
    async with visit(home) as me:  # a browser without the cookie, at the place that the account knows
        assert (await me.give_password(household.owner)).goes_to == "/login/code"


async def test_the_device_cookie(visit: Visit, household: Household) -> None:
    """It comes with the log-in, not with the password; for half a year, for our own pages, not for scripts."""
    async with visit() as me:
        assert "device" not in str((await me.give_password(household.owner)).headers.getall("Set-Cookie"))
        await me.asked()
        answer = await me.give_code(await me.code(household.owner))
        (cookie,) = [one for one in answer.headers.getall("Set-Cookie") if one.startswith("device=")]
        parts = {part.strip() for part in cookie.split(";")}
        assert {"HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=15552000"} <= parts
        assert str(household.owner.user_id) not in cookie
        assert household.owner.email not in cookie


async def test_right_passwords_use_nothing_up(visit: Visit, whole: WholeStack) -> None:
    """Logging in often is no guessing."""
    household = await whole.household(two_factor=False)
    home = new_address()
    for _ in range(EMAIL_RATE.burst + 2):
        async with visit(home) as me:
            assert (await me.give_password(household.owner)).goes_to == "/login/code"


async def test_one_open_request_for_one_browser(visit: Visit, whole: WholeStack, household: Household) -> None:
    """The password given again publishes nothing; another person's ends the first and its challenge."""
    async with visit() as me:
        await me.give_password(household.owner)
        await me.asked()
        held = me.cookie()
        assert (await me.give_password(household.owner)).goes_to == "/login/code"
        assert me.cookie() == held
        await me.give_password(household.managed[0])
        assert me.cookie() != held
        page = await me.asked()
        assert household.managed[0].number[-2:] in page.text
        assert len(await whole.texts(household.owner.number)) == 1
        me.hold(held)
        assert (await me.get("/login/code")).goes_to == "/"
        async with whole.database() as db:
            reasons = await db.fetch(
                "SELECT d.reason FROM verifier.decision d JOIN verifier.challenge c USING (request_id)"
                " WHERE c.user_id = $1",
                household.owner.user_id,
            )
        assert [row["reason"] for row in reasons] == ["cancelled"]
