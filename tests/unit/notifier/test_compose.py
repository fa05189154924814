"""What a text says, and that it is always one part."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from countersign.contract import Client, Summary
from services.notifier import words
from services.notifier.compose import BRAND_CHARACTERS_MAX, HOST_CHARACTERS_MAX, compose
from services.notifier.gsm7 import PART_SEPTETS_MAX, septets, transliterate
from services.notifier.model import Code
from services.notifier.settings import TextSettings
from services.notifier.words import ACTIONS, choose

LANGUAGES = words.load()
CODE = Code("123456")
FIVE_MINUTES = timedelta(minutes=5)
HERE = Client(ip="203.0.113.7", locale="en")
LONGEST_BRAND = "B" * BRAND_CHARACTERS_MAX
LONGEST_HOST = ".".join(["a" * 29, "b" * 30])

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), max_size=200)
hosts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?){0,3}", fullmatch=True)


def text(
    language: str,
    action: str,
    host: str = "app.example.com",
    code: Code = CODE,
    *,
    life: timedelta = FIVE_MINUTES,
    brand: str = "Countersign",
    **summary: object,
) -> str:
    return compose(
        LANGUAGES[language],
        action,  # type: ignore[arg-type] # a test names it
        code,
        summary=Summary(**summary),  # type: ignore[arg-type]
        client=HERE,
        life=life,
        brand=brand,
        host=host,
    ).body


@pytest.mark.parametrize(
    ("language", "action", "summary", "said"),
    [
        ("en", "login", {}, "log-in code"),
        (
            "en",
            "export",
            {"what": "Newsletter", "rows": 500, "format": "CSV"},
            'export code for "Newsletter", 500 contacts, CSV, from 203.0.113.7',
        ),
        ("en", "export", {"rows": 1}, "export code, 1 contact, from 203.0.113.7"),
        ("en", "confirm_number", {}, "code to confirm this number"),
        ("en", "change_number", {"what": "78"}, "code to change your number to the number ending 78"),
        ("en", "manage_member", {"what": "Ada"}, 'code to change a member: "Ada"'),
        ("en", "manager_act", {"what": "turn off"}, 'code to act on an account: "turn off"'),
        ("de", "login", {}, "zum Anmelden"),
        (
            "de",
            "export",
            {"what": "Käufer", "rows": 12000, "format": "jsonl"},
            'zum Export von "Käufer", 12000 Kontakte, jsonl, von 203.0.113.7',
        ),
    ],
)
def test_a_text_says_what_is_approved(language: str, action: str, summary: dict[str, Any], said: str) -> None:
    """The brand, the code and what it is for come first, the site it is good on last; of an export, from where."""
    begins = "123456 is your" if language == "en" else "123456 ist Ihr Code"
    assert text(language, action, **summary).startswith(f"Countersign: {begins} {said}.")
    assert text(language, action, **summary).endswith(".\n@app.example.com #123456")


def test_the_text_of_a_log_in() -> None:
    """Word for word, in both languages: no address, how long the code is good, and the warning."""
    code = Code("360573")
    assert text("en", "login", "localhost", code) == (
        "Countersign: 360573 is your log-in code. It expires in 5 minutes. Never share it.\n@localhost #360573"
    )
    assert text("de", "login", "localhost", code, brand="Beispiel") == (
        "Beispiel: 360573 ist Ihr Code zum Anmelden. Er gilt 5 Minuten. Geben Sie ihn nie weiter.\n@localhost #360573"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (300, "in 5 minutes"),
        (290, "in 5 minutes"),
        (289, "in 4 minutes"),
        (180, "in 3 minutes"),
        (109, "in 1 minute."),
        (5, "in 1 minute."),
    ],
)
def test_a_text_says_how_long_its_code_is_good(seconds: int, said: str) -> None:
    """Of a further text, whose code lives shorter, that; never much more than there is."""
    assert f"It expires {said}" in text("en", "login", life=timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "brand", ["", "X", "a" * 21, "evil.example", "A/B", 'A"B', "Name: x", "Mail 😀", "Łódź", "A  B", "[A]"]
)
def test_a_brand_that_no_text_can_begin_with_is_refused_at_start_up(brand: str) -> None:
    """As it is written is how it is sent, in the alphabet, and no part of it looks like a link."""
    with pytest.raises(ValidationError):
        TextSettings(host="app.example.com", brand=brand)


def test_a_brand_is_taken_as_it_is() -> None:
    """Umlauts are in the alphabet."""
    assert TextSettings(host="app.example.com", brand="Käufer & Co").brand == "Käufer & Co"


@given(
    st.sampled_from(sorted(LANGUAGES)),
    st.sampled_from(ACTIONS),
    st.builds(Summary, what=st.none() | texts, rows=st.none() | st.integers(0, 10**12), format=st.none() | texts),
    st.none() | st.ip_addresses().map(str),
    hosts.filter(lambda host: len(host) <= HOST_CHARACTERS_MAX),
    st.from_regex(r"[0-9]{6,8}", fullmatch=True),
    st.timedeltas(timedelta(0), timedelta(minutes=10)),
)
@example("de", "manager_act", Summary(what="€" * 60, rows=10**12), "::", LONGEST_HOST, "12345678", FIVE_MINUTES)
@example(
    "en", "export", Summary(what="😀" * 60, format="\U0001f1e9" * 60), "::1", LONGEST_HOST, "12345678", FIVE_MINUTES
)
def test_a_text_is_always_one_part(
    language: str, action: str, summary: Summary, ip: str | None, host: str, digits: str, life: timedelta
) -> None:
    """Property: at most 160 septets; brand, code, action and last line are never cut; no line of anybody else's."""
    said = compose(
        LANGUAGES[language],
        action,  # type: ignore[arg-type]
        Code(digits),
        summary=summary,
        client=Client(ip=ip),
        life=life,
        brand=LONGEST_BRAND,
        host=host,
    ).body
    assert septets(said) <= PART_SEPTETS_MAX
    first, last = said.split("\n")
    assert first.startswith(LANGUAGES[language].of(action).head.format(brand=LONGEST_BRAND, code=digits))  # type: ignore[arg-type]
    assert last == f"@{host} #{digits}"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("action", ACTIONS)
def test_what_must_be_there_fits_with_the_longest_host_and_code(language: str, action: str) -> None:
    """In every language, beside the longest brand; of an export even a place fits."""
    assert len(LONGEST_HOST) == HOST_CHARACTERS_MAX
    said = text(language, action, LONGEST_HOST, Code("12345678"), brand=LONGEST_BRAND)
    assert ("203.0.113.7" in said) == (action == "export")
    assert septets(said) <= PART_SEPTETS_MAX


def test_what_is_cut_first() -> None:
    """The name of a list gives way to rows, format and place, and shows that it was cut; then format and rows do."""
    what = "A very long name of a list that somebody thought of in May"
    said = text("en", "export", "two-factor.mail.example.com", what=what, rows=500, format="csv")
    assert said.startswith('Countersign: 123456 is your export code for "A very long name of a list')
    assert '..", 500 contacts, csv, from 203.0.113.7.\n' in said
    assert septets(said) == PART_SEPTETS_MAX
    said = text("de", "export", LONGEST_HOST, what=what, rows=10**12, format="x" * 60)
    assert (
        said.split("\n")[0] == "Countersign: 123456 ist Ihr Code zum Export, 1000000000000 Kontakte, von 203.0.113.7."
    )


def test_the_warning_stays_longer_than_the_time() -> None:
    """Where both do not fit."""
    said = text("en", "export", "shop.example.com", what="The newsletter of spring", rows=12000, format="JSON Lines")
    assert said.split("\n")[0].endswith("from 203.0.113.7. Never share it.")


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
    assert all(after == " " for after in re.findall(r":(.)", body))  # our own colons
    assert last == f"@a.example #{digits}"
    assert body.count(digits) == last.count(digits) == 1
    assert re.findall(r"\w\.\w", body.replace("203.0.113.7", "")) == []


def test_a_name_of_200_characters_is_cut() -> None:
    """The contract may let longer names pass: the text still is one part, its name cut first."""
    summary = Summary.model_construct(what="Spring customers " * 12, rows=3, format="csv")
    said = compose(
        LANGUAGES["en"], "export", CODE, summary=summary, client=HERE, life=FIVE_MINUTES, brand="A1", host="a.example"
    ).body
    assert septets(said) <= PART_SEPTETS_MAX
    assert '.."' in said
    assert said.endswith("\n@a.example #123456")


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


def test_a_code_and_a_text_do_not_print_themselves() -> None:
    """Nor does a format string bring them out."""
    made = compose(
        LANGUAGES["en"], "login", CODE, summary=Summary(), client=HERE, life=FIVE_MINUTES, brand="A1", host="a.example"
    )
    assert "123456" not in f"{CODE} {CODE!r} {made} {made!r}"
