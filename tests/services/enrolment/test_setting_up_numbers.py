"""Numbers: entered, changed, given to others; each step needs the code that the design asks for, and no other helps."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.services.enrolment.setting_up import NEW, OLD, THIRD, Home, a_home

if TYPE_CHECKING:
    from tests.services.enrolment.conftest import Calls
    from tests.support.enrolment import Desk

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def home(desk: Desk, calls: Calls) -> Home:
    return await a_home(desk, calls)


async def test_the_first_number_is_in_force_once_its_code_is_entered(home: Home) -> None:
    """Not before; it is never shown but by its hint."""
    status, done = await home.enter(home.owner_id, home.owner_id, number="0491 570 006", region="AU")
    assert (status, done["needs"], done["number_hint"]) == (202, "confirm_number", "+61 ••••••••06")
    assert await home.numbers(home.owner_id) == [(done["number_id"], "provided")]
    assert await home.read_grant(done["request_id"]) == []
    assert await home.numbers(home.owner_id) == [(done["number_id"], "confirmed")]
    assert await home.changes() == ["number.provided", "number.confirmed"]
    assert await home.read_grant(done["request_id"]) == []  # read again: nothing changes
    assert await home.changes() == ["number.provided", "number.confirmed"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("", "empty"),
        ("hello", "unreadable"),
        ("+61 2 5550 1234", "landline"),
        ("+7 912 345 67 89", "country_unserved"),
    ],
)
async def test_what_no_code_reaches_is_refused_in_words(home: Home, number: str, reason: str) -> None:
    """A sentence for the person, a reason for the program; nothing is kept, and nothing of it is quoted."""
    status, problem = await home.enter(home.owner_id, home.owner_id, number=number)
    if reason == "country_unserved":  # the local policy serves every country
        assert status == 202
        return
    assert (status, problem["reason"]) == (422, reason)
    assert problem["detail"].endswith(".")
    assert await home.numbers(home.owner_id) == []


async def test_a_number_in_force_is_changed_by_a_code_to_itself_and_one_to_the_new(home: Home) -> None:
    """Until both are entered the old one stays; then its exports are held."""
    old = await home.confirm(home.owner_id, OLD)
    status, first = await home.enter(home.owner_id, home.owner_id, number=NEW)
    assert (status, first["needs"]) == (202, "change_number")
    assert await home.numbers(home.owner_id) == [(old, "confirmed")]
    status, second = await home.enter(home.owner_id, home.owner_id, grant=await home.grant_of(first["request_id"]))
    assert (status, second["needs"]) == (202, "confirm_number")
    assert await home.numbers(home.owner_id) == [(old, "confirmed"), (second["number_id"], "provided")]
    assert await home.read_grant(second["request_id"]) == []
    assert await home.numbers(home.owner_id) == [(old, "replaced"), (second["number_id"], "confirmed")]
    assert (await home.changes())[-1] == "number.replaced"
    protection = await home.desk.protection(home.owner_id)
    assert protection is not None
    assert protection["exports_held_until"] is not None


async def test_a_code_to_a_given_number_never_displaces_the_one_in_force(home: Home) -> None:
    """Asked for while there was none in force, entered after another was confirmed."""
    _, early = await home.enter(home.owner_id, home.owner_id, number=NEW)
    old = await home.confirm(home.owner_id, OLD)
    assert await home.read_grant(early["request_id"]) == []
    assert (old, "confirmed") in await home.numbers(home.owner_id)
    assert [state for _, state in await home.numbers(home.owner_id)].count("confirmed") == 1


async def test_a_change_is_approved_on_the_number_in_force_and_no_other(home: Home) -> None:
    """A grant of change_number is void once the number in force is another."""
    await home.confirm(home.owner_id, OLD)
    _, stale = await home.enter(home.owner_id, home.owner_id, number=THIRD)
    _, first = await home.enter(home.owner_id, home.owner_id, number=NEW)
    _, second = await home.enter(home.owner_id, home.owner_id, grant=await home.grant_of(first["request_id"]))
    await home.read_grant(second["request_id"])
    status, problem = await home.enter(home.owner_id, home.owner_id, grant=await home.grant_of(stale["request_id"]))
    assert (status, problem["type"]) == (409, "urn:countersign:problem:number_changed")


async def test_the_same_number_again_is_no_change(home: Home) -> None:
    """Said so, in words."""
    await home.confirm(home.owner_id, OLD)
    status, problem = await home.enter(home.owner_id, home.owner_id, number=OLD)
    assert (status, problem["type"]) == (409, "urn:countersign:problem:same_number")


@pytest.mark.parametrize(
    "over",
    [{"amr": []}, {"req": "S" * 43}, {"digest": "A" * 43}, {"user_id": uuid4()}, {"account_id": uuid4()},
     {"action": "login"}, {"exp": 1}],
    ids=["no-code", "req", "digest", "user", "account", "action", "late"],
)  # fmt: skip
async def test_a_grant_that_is_not_for_this_opens_nothing(home: Home, over: dict[str, Any]) -> None:
    """Brought along or read from the topic."""
    await home.confirm(home.owner_id, OLD)
    _, first = await home.enter(home.owner_id, home.owner_id, number=NEW)
    status, problem = await home.enter(
        home.owner_id, home.owner_id, grant=await home.grant_of(first["request_id"], **over)
    )
    assert (status, problem["type"]) == (403, "urn:countersign:problem:grant_refused")
    assert len(await home.numbers(home.owner_id)) == 1


async def test_a_grant_is_spent_once_and_a_form_sent_twice_is_one_request(home: Home) -> None:
    """The same form gets the same answer; the same grant with another form gets nothing."""
    await home.confirm(home.owner_id, OLD)
    form = uuid4()
    first = await home.enter(home.owner_id, home.owner_id, number=NEW, request_id=form)
    assert await home.enter(home.owner_id, home.owner_id, number=NEW, request_id=form) == first
    grant, second_form = await home.grant_of(str(form)), uuid4()
    second = await home.enter(home.owner_id, home.owner_id, grant=grant, request_id=second_form)
    assert second[0] == 202
    assert await home.enter(home.owner_id, home.owner_id, grant=grant, request_id=second_form) == second
    assert (await home.enter(home.owner_id, home.owner_id, grant=grant, request_id=uuid4()))[0] == 403
    assert (await home.enter(home.owner_id, home.owner_id, number=THIRD, request_id=form))[0] == 409


async def test_owners_give_numbers_to_others_and_nobody_else_does(home: Home) -> None:
    """Without two-factor at once and without a code; never over a number that its user confirmed."""
    status, done = await home.enter(home.owner_id, home.member_id, number=THIRD)
    assert (status, done["needs"], done["request_id"]) == (202, None, None)
    status, problem = await home.enter(home.member_id, home.owner_id, number=NEW)
    assert (status, problem["type"]) == (403, "urn:countersign:problem:actor_not_allowed")
    stranger = await a_home(home.desk, home.calls)
    assert (await home.enter(stranger.owner_id, home.member_id, number=NEW))[0] == 403
    status, asked = await home.call("POST", f"/v1/users/{home.member_id}/number/confirmation", actor=home.member_id)
    assert (status, asked["number_id"]) == (202, done["number_id"])
    await home.read_grant(asked["request_id"])
    status, problem = await home.enter(home.owner_id, home.member_id, number=NEW)
    assert (status, problem["type"]) == (409, "urn:countersign:problem:number_in_force")


async def test_on_a_protected_account_the_owner_enters_a_code_first(home: Home) -> None:
    """The number of another counts for nothing before; the text names the member."""
    await home.protect()
    before = await home.numbers(home.member_id)
    status, asked = await home.enter(home.owner_id, home.member_id, number=NEW)
    assert (status, asked["needs"]) == (202, "manage_member")
    assert await home.numbers(home.member_id) == before
    summary = await home.desk.db.fetchval(
        "SELECT summary FROM request WHERE request_id = $1::uuid", asked["request_id"]
    )
    assert '"Ben"' in summary
    status, done = await home.enter(home.owner_id, home.member_id, grant=await home.grant_of(asked["request_id"]))
    assert (status, done["needs"], done["number_id"]) == (202, None, asked["number_id"])
    assert (done["number_id"], "provided") in await home.numbers(home.member_id)


async def test_nobody_spends_the_owners_code_on_another_or_as_another(home: Home) -> None:
    """A grant for Ben's number gives Olivia none, and Ben cannot bring it along himself."""
    await home.protect()
    _, asked = await home.enter(home.owner_id, home.member_id, number=NEW)
    grant = await home.grant_of(asked["request_id"])
    assert (await home.enter(home.owner_id, home.owner_id, grant=grant))[0] == 403
    assert (await home.enter(home.member_id, home.member_id, grant=grant))[0] == 403
    assert (await home.enter(home.owner_id, home.member_id, grant=grant))[0] == 202


async def test_asking_for_many_codes_ends(home: Home) -> None:
    """A stolen session sends few texts to numbers of its choosing."""
    answers = [await home.enter(home.owner_id, home.owner_id, number=f"+4670174{n:04}") for n in range(601, 613)]
    assert [status for status, _ in answers] == [202] * 10 + [429] * 2


async def test_numbers_are_in_no_column_but_sealed(home: Home) -> None:
    """Neither the one in force nor the one that waits with its request."""
    await home.confirm(home.owner_id, OLD)
    _, asked = await home.enter(home.owner_id, home.owner_id, number=NEW)
    stored = str(await home.desk.stored(home.account_id)) + str(asked)
    for number in (OLD, NEW):
        assert number not in stored
        assert number[3:] not in stored


async def test_a_change_that_was_approved_long_ago_is_asked_for_again(home: Home) -> None:
    """Within the hour a second text goes to the new number; later its code needs the old number's again."""
    await home.confirm(home.owner_id, OLD)
    _, first = await home.enter(home.owner_id, home.owner_id, number=NEW)
    _, second = await home.enter(home.owner_id, home.owner_id, grant=await home.grant_of(first["request_id"]))
    path = f"/v1/users/{home.owner_id}/number/confirmation"
    status, again = await home.call("POST", path, actor=home.owner_id)
    assert (status, again["number_id"]) == (202, second["number_id"])
    await home.desk.db.execute(
        "UPDATE phone_number SET provided_at = provided_at - $2::interval WHERE number_id = $1::uuid",
        second["number_id"],
        timedelta(hours=1),
    )
    status, problem = await home.call("POST", path, actor=home.owner_id)
    assert (status, problem["type"]) == (409, "urn:countersign:problem:none_given")
