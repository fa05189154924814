"""What every address of the gateway answers to what it does not ask for. Nothing of it is a failure of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.whole_stack import Household, WholeStack

    Visit = Callable[..., Any]

pytestmark = pytest.mark.servers

POSTS = ("/login", "/login/code", "/logout", "/exports", "/exports/01960000-0000-7000-8000-000000000009", "/phone")
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("kind", "body", "statuses"),
    [
        ("application/json", b'{"email": "a"}', {415}),
        ("multipart/form-data", b"x", {415}),
        ("text/plain", b"csrf=x", {415}),
        (FORM, b"", {403}),
        (FORM, b"csrf=wrong&email=a&password=b", {403}),
        (FORM, b"\xff\xfe\x00=%zz&&&=", {400, 403}),
        (f"{FORM}; charset=no-such", b"csrf=x", {415}),
        (FORM, b"a=" + b"x" * 20_000, {413}),
        (FORM, b"&".join(b"a%d=b" % n for n in range(1_500)), {413}),
    ],
)
async def test_bodies_that_are_no_form_of_ours(
    visit: Visit, path: str, kind: str, body: bytes, statuses: set[int]
) -> None:
    """Refused before anything is looked up, in a page with words."""
    async with visit() as me:
        answer = await me.ask("POST", path, data=body, headers={"Content-Type": kind})
        assert answer.status in statuses
        assert "<h1>" in answer.text


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_forms_sent_from_elsewhere(visit: Visit, path: str, headers: dict[str, str]) -> None:
    """Cross-site forms are refused even with the right token, and bring no cookie that would replace a session's."""
    async with visit() as me:
        token = (await me.get("/login")).hidden("csrf")
        answer = await me.ask("POST", path, data={"csrf": token}, headers=headers)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers


async def test_the_token_is_the_browsers_own(visit: Visit, household: Household) -> None:
    """Another browser's token is worth nothing; a form that was open for too long says so."""
    async with visit() as me, visit() as other:
        token = (await other.get("/login")).hidden("csrf")
        await me.get("/login")
        form = {"csrf": token, "email": household.owner.email, "password": household.owner.password}
        answer = await me.send("/login", form)
        assert answer.problem == "stale"
        assert f'value="{household.owner.email}"' in answer.text
        assert household.owner.password not in answer.text
        assert not (await me.get("/login")).text.count("may be waiting")
    async with visit() as without_cookies:  # the end of a redirect could tell it nothing
        answer = await without_cookies.ask("POST", "/login", data=form)
        assert (answer.status, answer.problem) == (403, "stale")


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "own"}, {"Origin": "null"}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}]
)
async def test_our_own_forms(visit: Visit, whole: WholeStack, headers: dict[str, str]) -> None:
    """What browsers send, older and newer ones; a `null` Origin proves nothing, so the token decides."""
    sent = {name: whole.gateway if value == "own" else value for name, value in headers.items()}
    async with visit() as me:
        answer = await me.post("/login", {"email": f"nobody.{me.address}@example.com", "password": "x"}, headers=sent)
        assert answer.problem == "wrong"


SEGMENTS = (
    "%0d%0a",
    "%0d%0aSet-Cookie:%20x=y",
    "%0d%0a" + "0" * 30,
    "%00",
    "%e2%80%a8",
    "%ff%fe",
    "%2f%2fevil.example",
    "%5cevil.example",
    "%7b{id}%7d",
    "urn:uuid:{id}",
    "x" * 7_000,
)


@pytest.mark.parametrize("segment", SEGMENTS, ids=lambda segment: segment[:20])
@pytest.mark.parametrize("signed_in", [False, True])
async def test_hostile_segments_of_every_route(
    visit: Visit, household: Household, signed_in: bool, segment: str
) -> None:
    """Such an address is none, whoever asks and however; no answer says where else to go, and nothing fails here."""
    segment = segment.format(id=uuid4())
    gets = [f"/exports/{segment}", f"/exports/{segment}/file", f"/static/{segment}", f"/{segment}", f"/login/{segment}"]
    gets += [f"/contacts?list={segment}", f"/contacts?list={uuid4()}&after={segment}", f"/login?next={segment}"]
    async with visit() as me:
        if signed_in:
            await me.log_in(household.owner)
        page = await me.get(f"/contacts?list={household.list_id}" if signed_in else "/login")
        answers = [await me.get(path) for path in gets]
        answers += [
            await me.ask("POST", path, data={"csrf": page.hidden("csrf"), "do": "answer", "list": segment})
            for path in (f"/exports/{segment}", "/exports", f"/login/{segment}", f"/{segment}")
        ]
        for answer in answers:
            assert answer.status in {200, 303, 404, 405, 422}, answer.status
            assert answer.goes_to in {"", "/", "/login", "/login/code"}
            assert "x" not in me.http.cookie_jar.filter_cookies(me.base_url)
    async with visit(Host="evil.example") as stranger:
        assert (await stranger.get(f"/exports/{segment}")).goes_to.startswith(f"{stranger.base}/")


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/exports/not-an-id",
        "/exports/%00",
        "/exports/{00000000-0000-4000-8000-000000000000}",
        "/exports/0000000000004000800000000000000000",
        "/exports/../login/code/x",
        "/exports/01960000-0000-7000-8000-000000000009",
        "/contacts?list=x",
        "/contacts?list=01960000-0000-7000-8000-000000000009",
        "/static/../store.py",
        "/static/%2e%2e/store.py",
        "/manager",
    ],
)
async def test_addresses_that_are_none(visit: Visit, household: Household, path: str) -> None:
    """Unknown ids and paths, signed in: there is no such page, whatever it is."""
    async with visit() as me:
        await me.log_in(household.owner)
        answer = await me.get(path)
        assert answer.status == 404
        assert "There is no such page" in answer.text


async def test_methods_that_are_none(visit: Visit) -> None:
    """405 with Allow."""
    async with visit() as me:
        answer = await me.ask("DELETE", "/login")
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_signed_out_every_page_leads_to_the_login(visit: Visit) -> None:
    """Also with a cookie that is none."""
    for cookie in ("", "x", "A" * 43, "A" * 5_000, "é"):
        async with visit(Cookie=f"session={cookie}".encode().decode("latin-1")) as me:
            for path in ("/", "/account", "/contacts", f"/exports/{uuid4()}", f"/exports/{uuid4()}/file"):
                answer = await me.get(path)
                assert (answer.status, answer.goes_to) == (303, "/login"), (cookie[:5], path)


@pytest.mark.parametrize(
    ("typed", "judged"),
    [
        ("letter", False),
        ("12345", False),
        ("1234567", False),
        ("", False),
        ("12345\u00b2", False),
        ("123456; DROP TABLE", False),
        ("9" * 10_000, False),
        ("{spaced}", True),
        ("{hyphens}", True),
        ("{wide}", True),
        ("{arabic}", True),
        ("\u200e{plain}\u200f\n", True),
    ],
)
async def test_codes_as_they_are_typed(visit: Visit, household: Household, typed: str, judged: bool) -> None:
    """However phones copy it and keyboards write it, it is the code; anything else is no code and costs no try."""
    async with visit() as me:
        await me.give_password(household.owner)
        await me.asked()
        code = await me.code(household.owner)
        wide, arabic = ("".join(chr(ord(digit) - ord("0") + zero) for digit in code) for zero in (0xFF10, 0x0660))
        answer = await me.give_code(
            typed.format(
                spaced=f" {code[:3]} {code[3:]}\t",
                hyphens=f"{code[:3]}-{code[3:]}",
                wide=wide,
                arabic=arabic,
                plain=code,
            )
        )
        if judged:
            assert answer.goes_to == "/"
        else:
            assert answer.problem == "off_form"
            assert "did not cost you a try" in answer.alert()
            assert "5 tries left" in answer.text


async def test_one_form_sent_twice(visit: Visit, household: Household) -> None:
    """A double click on a wrong code costs one try; a double click on an export makes one."""
    async with visit() as me:
        await me.give_password(household.owner)
        page = await me.asked()
        code = await me.code(household.owner)
        wrong = "000000" if code != "000000" else "111111"
        form = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "code": wrong, "do": "answer"}
        twice = [await me.send("/login/code", form) for _ in range(2)]
        assert ["4 tries left" in answer.alert() for answer in twice] == [True, True]
        await me.give_code(code)
        page = await me.get(f"/contacts?list={household.list_id}")
        ask = {"csrf": page.hidden("csrf"), "once": page.hidden("once"), "list": str(household.list_id)}
        answers = [await me.ask("POST", "/exports", data={**ask, "format": "csv"}) for _ in range(2)]
        assert len({answer.goes_to for answer in answers}) == 1
        assert answers[0].goes_to.startswith("/exports/")


@pytest.mark.parametrize("form", [{"format": "xlsx"}, {"format": "csv", "list": str(uuid4())}, {"list": "x"}])
async def test_exports_of_what_is_not_there(visit: Visit, household: Household, form: dict[str, str]) -> None:
    """No such list, no such format."""
    async with visit() as me:
        await me.log_in(household.owner)
        page = f"/contacts?list={household.list_id}"
        answer = await me.post("/exports", {"list": str(household.list_id), "once": "x", **form}, page=page)
        assert answer.status in {404, 422}


async def test_headers_of_every_answer(visit: Visit) -> None:
    """Pages, problems, redirects and files carry the policy; pages are not kept, files are."""
    async with visit() as me:
        for path in ("/login", "/nowhere", "/", "/static/app.css", "/static/app.js"):
            answer = await me.get(path)
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            kept = "immutable" if path.startswith("/static") else "no-store"
            assert kept in answer.headers["Cache-Control"], path
        cookie = (await me.get("/login")).headers.get("Set-Cookie", "") or str(me.http.cookie_jar)
        assert "secret" not in cookie


async def test_the_cookie(visit: Visit) -> None:
    """HttpOnly, Lax, for this host's every path; on plain http of this machine without Secure."""
    async with visit() as me:
        answer = await me.get("/login")
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("session=")
        assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
        assert "Domain" not in cookie


async def test_another_host_is_led_here(visit: Visit, whole: WholeStack) -> None:
    """A name that is not ours shows no page and takes no form."""
    async with visit(Host="evil.example") as me:
        assert (await me.get("/login?x=1")).goes_to == f"{whole.gateway}/login?x=1"
        assert (await me.ask("POST", "/login", data={"email": "a"})).status == 421


async def test_the_phone_page_takes_only_addresses(visit: Visit) -> None:
    """Acting as another computer is an address or nothing."""
    async with visit() as me:
        for computer in ("203.0.113.9", "2001:db8::1"):
            assert (await me.post("/phone", {"computer": computer})).problem == ""
        for computer in ("here", "1.2.3.4; x"):
            assert (await me.post("/phone", {"computer": computer})).problem == "bad_address"
        assert "203.0.113.9" not in (await me.get("/phone")).headers.get("Set-Cookie", "")


async def test_a_forged_chain_is_not_believed(visit: Visit, whole: WholeStack, household: Household) -> None:
    """X-Forwarded-For counts from the right: what the visitor writes to the left of it is air."""
    async with visit() as known:
        await known.log_in(household.owner)
    async with visit(f"{known.address}, 10.99.99.99") as stranger:
        assert (await stranger.give_password(household.owner)).goes_to == "/login/code"
        assert (await stranger.asked()).state == "code"
    async with whole.database() as db:
        places = await db.fetch(
            "SELECT host(ip) AS ip FROM gateway.session WHERE user_id = $1", household.owner.user_id
        )
    assert {row["ip"] for row in places} == {known.address, "10.99.99.99"}
