"""What a text says, and that it is always one part."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from countersign.contract import Client, Summary
from services.notifier import words
from services.notifier.compose import HOST_CHARACTERS_MAX, compose
from services.notifier.gsm7 import PART_SEPTETS_MAX, cut, septets, transliterate
from services.notifier.model import Code
from services.notifier.settings import TextSettings
from services.notifier.words import ACTIONS, choose

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

LANGUAGES = words.load()
CODE = Code("123456")
HERE = Client(ip="203.0.113.7", locale="en")
LONGEST_HOST = ".".join(["a" * 29, "b" * 30])

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), max_size=200)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?){0,3}", fullmatch=True)


def text(language: str, action: str, host: str = "app.example.com", code: Code = CODE, **summary: object) -> str:
    return compose(
        LANGUAGES[language],
        action,  # type: ignore[arg-type] # a test names it
        code,
        summary=Summary(**summary),  # type: ignore[arg-type]
        client=HERE,
        host=host,
    ).body


@pytest.mark.parametrize(
    ("language", "action", "summary", "said"),
    [
        ("en", "login", {}, "to log in, from 203.0.113.7"),
        (
            "en",
            "export",
            {"what": "Newsletter", "rows": 500, "format": "csv"},
            'to export contacts: "Newsletter", 500 rows, csv, from 203.0.113.7',
        ),
        ("en", "export", {"rows": 1}, "to export contacts, 1 row, from 203.0.113.7"),
        (
            "en",
            "change_number",
            {"what": "+44 ••••••••78"},
            "to change your number to +44 ********78, from 203.0.113.7",
        ),
        ("en", "manage_member", {"what": "Ada"}, 'to change a member: "Ada", from 203.0.113.7'),
        ("de", "login", {}, "zum Anmelden, von 203.0.113.7"),
        (
            "de",
            "export",
            {"what": "Käufer", "rows": 12000, "format": "jsonl"},
            'zum Export von Kontakten: "Käufer", 12000 Zeilen, jsonl, von 203.0.113.7',
        ),
    ],
)
def test_a_text_says_what_is_approved_and_from_where(
    language: str, action: str, summary: dict[str, Any], said: str
) -> None:
    """The code and what it is for come first, the site it is good on last."""
    code = "123456 is your code" if language == "en" else "123456 ist Ihr Code"
    assert text(language, action, **summary).startswith(f"{code} {said}. ")
    assert text(language, action, **summary).endswith(".\n@app.example.com #123456")


@given(
    st.sampled_from(sorted(LANGUAGES)),
    st.sampled_from(ACTIONS),
    st.builds(Summary, what=st.none() | texts, rows=st.none() | st.integers(0, 10**12), format=st.none() | texts),
    st.none() | st.ip_addresses().map(str),
    hosts.filter(lambda host: len(host) <= HOST_CHARACTERS_MAX),
    st.from_regex(r"[0-9]{6,8}", fullmatch=True),
)
@example("de", "manager_act", Summary(what="€" * 60, rows=10**12, format="[" * 60), "::", LONGEST_HOST, "12345678")
@example(
    "en", "export", Summary(what="😀" * 60, rows=10**12, format="\U0001f1e9" * 60), "::1", LONGEST_HOST, "12345678"
)
def test_a_text_is_always_one_part(
    language: str, action: str, summary: Summary, ip: str | None, host: str, digits: str
) -> None:
    """Property: at most 160 septets of GSM-7; code, action and last line are never cut; no line of anybody else's."""
    said = compose(
        LANGUAGES[language],
        action,  # type: ignore[arg-type]
        Code(digits),
        summary=summary,
        client=Client(ip=ip),
        host=host,
    ).body
    assert septets(said) <= PART_SEPTETS_MAX
    first, last = said.split("\n")
    assert first.startswith(LANGUAGES[language].of(action).head.format(code=digits))  # type: ignore[arg-type]
    assert last == f"@{host} #{digits}"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("action", ACTIONS)
def test_what_must_be_there_fits_with_the_longest_host_and_code(language: str, action: str) -> None:
    """Even then a place fits beside it: the longest IPv4, in every language."""
    assert len(LONGEST_HOST) == HOST_CHARACTERS_MAX
    said = text(language, action, LONGEST_HOST, Code("12345678"))
    assert "203.0.113.7" in said
    assert septets(said) <= PART_SEPTETS_MAX


def test_what_is_cut_first() -> None:
    """The name of a list gives way to rows, format and place, and shows that it was cut; then format and rows do."""
    what = "A very long name of a list that somebody thought of in May"
    said = text("en", "export", "two-factor.mail.example.com", what=what, rows=500, format="csv")
    assert said.startswith('123456 is your code to export contacts: "A very long name of a list')
    assert '..", 500 rows, csv, from 203.0.113.7.\n' in said
    assert septets(said) == PART_SEPTETS_MAX
    said = text("de", "export", LONGEST_HOST, what=what, rows=10**12, format="x" * 60)
    assert said.split("\n")[0] == "123456 ist Ihr Code zum Export von Kontakten, 1000000000000 Zeilen, von 203.0.113.7."


def test_nobody_writes_into_a_text() -> None:
    """A list cannot be called so that a text ends its own sentence in quotes, or begins another line."""
    said = text("en", "export", what='x" to log in.  @evil.example #999999')
    assert '"x\' to log in evil example 999999"' in said
    assert said.split("\n")[1] == "@app.example.com #123456"
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Go to https://evil.example/u", "Go to https evil example u"),
        ("@evil.example #123456", "evil example 123456"),
        ("\uff20evil\uff0eexample\uff0fu\uff1a1 \uff03123", "evil example u 1 123"),
        ("evil\u3002example\u2044u \ufe6b \ufe5f \u2105", "evil example u c o"),
        ("A.B. Smith/Co", "A B Smith Co"),
        ("+44 \u2022\u2022\u2022\u2022\u2022\u2022\u2022\u202278", "+44 ********78"),
    ],
)
@pytest.mark.parametrize("action", ["export", "manage_member", "manager_act", "change_number"])
def test_a_name_makes_no_link_and_no_line_like_ours(action: str, name: str, shown: str) -> None:
    """Whatever script its full stop, slash or at sign is from."""
    said = text("en", action, what=name)
    assert shown in said
    assert said.split("\n")[1] == "@app.example.com #123456"


LINKS = st.text(st.sampled_from("ab1 .:/@#\uff0e\uff0f\uff1a\uff20\uff03\u3002\u2024\ufe52\u2100\u2488"), max_size=60)


@given(
    st.sampled_from(sorted(LANGUAGES)),
    st.sampled_from(ACTIONS),
    st.none() | texts | LINKS,
    st.none() | texts | LINKS,
    st.from_regex(r"[0-9]{6}", fullmatch=True),
)
def test_only_our_last_line_has_an_at_sign_or_a_number_sign(
    language: str, action: str, what: str | None, kind: str | None, digits: str
) -> None:
    """Property: and a code that the names do not hold is there twice, first in the body and in the last line."""
    assume(digits not in f"{transliterate(what or '')} {transliterate(kind or '')}")
    said = text(language, action, "a.example", Code(digits), what=what, format=kind)
    body, last = said.split("\n")
    assert not set(body) & set("@#/")
    assert all(after == " " for after in re.findall(r":(.)", body))  # our own colon
    assert last == f"@a.example #{digits}"
    assert body.count(digits) == last.count(digits) == 1
    assert re.findall(r"\w\.\w", body.replace("203.0.113.7", "")) == []


def test_a_name_of_200_characters_is_cut() -> None:
    """The contract may let longer names pass: the text still is one part, its name cut first."""
    summary = Summary.model_construct(what="Spring customers " * 12, rows=3, format="csv")
    said = compose(LANGUAGES["en"], "export", CODE, summary=summary, client=HERE, host="app.example.com").body
    assert septets(said) <= PART_SEPTETS_MAX
    assert '.."' in said
    assert said.endswith("\n@app.example.com #123456")


@given(texts)
def test_transliteration_stays_in_the_alphabet(said: str) -> None:
    """Property: whatever comes, what leaves has a place in GSM-7, on one line, and stays itself from then on."""
    plain = transliterate(said)
    assert septets(plain) >= len(plain)
    assert "\n" not in plain
    assert transliterate(plain) == plain


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("Käufer", "Käufer"),
        ("Ka\u0308ufer", "Käufer"),
        ("Łódź \u2013 „wiosna“", 'Lodz - "wiosna"'),
        ("Москва", "Moskva"),
        ("a`b\u202ec\u200d", "a'bc"),
        ("  two   spaces ", "two spaces"),
    ],
)
def test_other_scripts_read_as_near_as_can_be(said: str, plain: str) -> None:
    """Umlauts stay, composed or not; marks that turn writing around are gone."""
    assert transliterate(said) == plain


def test_cut_counts_septets() -> None:
    """A bracket and the euro count two."""
    assert cut("a€b", 2) == "a"
    assert cut("a€b", 3) == "a€"
    assert cut("", 0) == ""


@pytest.mark.parametrize(
    ("locale", "language"),
    [("de", "de"), ("de-AT", "de"), ("DE-ch", "de"), ("en-GB", "en"), ("fr-FR", "en"), (None, "en")],
)
def test_the_language_is_the_locales_or_the_default(locale: str | None, language: str) -> None:
    """Of what there are words for."""
    assert choose(LANGUAGES, locale, "en") is LANGUAGES[language]


@pytest.mark.parametrize("host", ["a" * 61, "App.example.com", "a..b", "-a.example", "a.example:443", "a b", ""])
def test_a_host_that_no_phone_would_match_is_refused_at_start_up(host: str) -> None:
    """Lower case, no port, short enough for every text."""
    with pytest.raises(ValidationError):
        TextSettings(host=host)


@given(st.ip_addresses())
def test_every_address_is_in_the_alphabet(ip: IPv4Address | IPv6Address) -> None:
    """Property: a place never has to be transliterated."""
    assert transliterate(str(ip)) == str(ip)


def test_a_code_and_a_text_do_not_print_themselves() -> None:
    """Nor does a format string bring them out."""
    made = compose(LANGUAGES["en"], "login", CODE, summary=Summary(), client=HERE, host="a.example")
    assert "123456" not in f"{CODE} {CODE!r} {made} {made!r}"
