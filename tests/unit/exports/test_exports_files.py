"""Files that carry everything and run nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exports.files import cell, write_file
from services.exports.model import Contact
from services.exports.settings import ExportsSettings, FileSettings, PageSettings, limits

ID = UUID(int=7)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+491701234567", "+491701234567"),
        ("+49 151 2345678", "+49 151 2345678"),
        ("+49 (0)151 234-5678", "+49 (0)151 234-5678"),
        ("+1 (800) 555-0100", "+1 (800) 555-0100"),
        ("-2", "-2"),
        ("-12.50", "-12.50"),
        ("-12,50", "-12,50"),
        ("x;-12.50", "x;-12.50"),
        ("+1-800-555-0100", "'+1-800-555-0100"),
        ("-2+3", "'-2+3"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("+49 151 2+A1", "'+49 151 2+A1"),
        ("+49 151 2*3", "'+49 151 2*3"),
        ("+49 151 x", "'+49 151 x"),
        ("+\u0664\u0669", "'+\u0664\u0669"),
        ("--1", "'--1"),
        ("+", "'+"),
        ("-", "'-"),
        ("- 1", "'- 1"),
        ("-(1)", "'-(1)"),
        ("-1-2", "'-1-2"),
        ("+49 151 2\n=A1", "+49 151 2\n'=A1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("\t1", "'\t1"),
        ("x;=1", "x;'=1"),
        ("x\r\n=1;@A", "x\r\n'=1;'@A"),
        ("Street 1\r\nTown", "Street 1\r\nTown"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20A", "'\uff20A"),
        ("", ""),
        ("Ada", "Ada"),
        ("a=b", "a=b"),
        ("1-2", "1-2"),
        (" =1", " =1"),
        ("'", "'"),
    ],
)
def test_formulas_become_text(text: str, written: str) -> None:
    """OWASP, CSV Injection; everything else stays as it is, signed numbers and phone numbers too."""
    assert cell(text) == written


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
# A name that begins with an apostrophe could be what another one becomes.
NAMES = TEXTS.filter(lambda name: name not in {"contact_id", "email", "name"} and not name.startswith("'"))
CONTACTS = st.lists(
    st.builds(
        Contact,
        st.uuids(),
        TEXTS,
        TEXTS,
        st.dictionaries(NAMES, TEXTS, max_size=3),
    ),
    max_size=5,
)


def read_csv(file: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.decode("utf-8-sig"), newline=""), strict=True))


FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# A sign and then nothing that computes anything but a number: no letter, no second operator.
HARMLESS = re.compile('[+-][0-9][0-9 ().,]*(-[0-9 ()]+)*("|$)', re.ASCII)


def is_formula(text: str) -> bool:
    """Return True for what a spreadsheet might run."""
    return text.startswith(FORMULAS) and not HARMLESS.match(text)


@given(CONTACTS)
def test_no_cell_of_any_list_is_a_formula_and_none_is_lost(contacts: list[Contact]) -> None:
    """Quotes, commas and line ends in the content end no cell early."""
    header, *rows = read_csv(write_file("csv", contacts))
    assert not any(is_formula(text) or text.startswith(("\t", "\r", "\n")) for row in (header, *rows) for text in row)
    assert len(rows) == len(contacts)
    assert {len(row) for row in rows} <= {len(header)}
    for row, contact in zip(rows, contacts, strict=True):
        assert row[:3] == [str(contact.contact_id), cell(contact.email), cell(contact.name)]
        more = dict(zip(header[3:], row[3:], strict=True))
        assert all(more[cell(name)] == cell(text) for name, text in contact.attributes.items())


@given(CONTACTS)
def test_no_cell_is_a_formula_to_a_reader_of_semicolons(contacts: list[Contact]) -> None:
    """Where numbers have a decimal comma, spreadsheets part at semicolons and line ends, and heed no inner quotes."""
    file = write_file("csv", contacts).decode("utf-8-sig")
    assert not any(is_formula(part) for part in re.split("[;\t\r\n]", file))


@given(CONTACTS)
def test_json_lines_carry_everything_as_it_is(contacts: list[Contact]) -> None:
    """One object a line, and a line is a line."""
    file = write_file("jsonl", contacts).decode()
    lines = file.splitlines()
    assert file == "".join(f"{line}\n" for line in lines)
    parsed: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert parsed == [
        {**contact.attributes, "contact_id": str(contact.contact_id), "email": contact.email, "name": contact.name}
        for contact in contacts
    ]


def test_attributes_that_only_some_contacts_have_leave_the_others_empty() -> None:
    """Columns are all names that occur, in order."""
    contacts = [Contact(ID, "a@example.net", "A", {"town": "Ulm"}), Contact(ID, "b@example.net", "B", {"age": "7"})]
    header, *rows = read_csv(write_file("csv", contacts))
    assert header == ["contact_id", "email", "name", "age", "town"]
    assert [row[3:] for row in rows] == [["", "Ulm"], ["7", ""]]


def test_lines_end_as_the_rfc_says() -> None:
    """RFC 4180: CRLF, everything quoted, quotes doubled."""
    file = write_file("csv", [Contact(ID, 'a"b@example.net', "A")])
    assert file == f'"contact_id","email","name"\r\n"{ID}","a""b@example.net","A"\r\n'.encode("utf-8-sig")


def test_a_spreadsheet_is_told_that_a_csv_is_utf_8() -> None:
    """By the byte order mark, or it shows another name; programs that read JSON Lines want none (RFC 8259, 8.1)."""
    contacts = [Contact(ID, "chloe@example.net", "Chlo\u00e9")]
    assert write_file("csv", contacts).startswith(b"\xef\xbb\xbf" + b'"contact_id"')
    assert write_file("jsonl", contacts).startswith(b"{")


@pytest.mark.parametrize(
    "over",
    [
        {"decided_within": "PT5M"},
        {"decided_within": "PT2H"},
        {"offered": "PT2H"},
        {"rows_max": 0},
        {"rows_max": 10**7},
        {"waiting_max": 0},
    ],
)
def test_limits_have_bounds(over: dict[str, Any]) -> None:
    """A setting beyond them is refused at the start."""
    with pytest.raises(ValueError, match=next(iter(over))):
        FileSettings(**over)
    with pytest.raises(ValueError, match="rows_max"):
        PageSettings(rows_max=51)


def test_every_limit_is_told_with_its_source() -> None:
    """For `make limits`."""
    settings = ExportsSettings(
        postgres={"dsn": "postgresql://exports@127.0.0.1/countersign"},
        kafka={"bootstrap_servers": "127.0.0.1:9"},
        jwks_url="https://nowhere/keys",
    )
    told = {limit.name: limit.value for limit in limits(settings)}
    assert told["files.offered"] == "0:15:00"
    assert told["files.decided_within"] == "0:10:00"
    assert told["pages.hourly_max"] == "20"
    assert all(limit.source for limit in limits(settings))
