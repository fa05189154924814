"""Files of contacts: CSV whose cells no spreadsheet runs, and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.exports.model import Contact, Format

# OWASP, CSV Injection: cells that begin so are formulas to a spreadsheet, as are cells that begin with a tab or a line
# end; the last four are the full-width forms.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Where numbers have a decimal comma, spreadsheets split cells at semicolons, tabs and line ends, quoted or not.
_SEPARATORS = re.compile("([;\t\r\n])")
# What cannot be a formula although it begins with a sign: one number, and a phone number in groups. Without a space
# between two groups of digits a dash is a subtraction: a spreadsheet shows +1-800-555 as -1354.
_NO_FORMULA = re.compile(r"[+-][0-9]+([.,][0-9]+)*|\+(?=.*[0-9]\)? \(?[0-9])[0-9 ().-]+", re.ASCII)
# Line ends to some readers, which JSON lets pass unescaped: NEL, LINE SEPARATOR, PARAGRAPH SEPARATOR.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
CONTENT_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8; header=present",  # RFC 4180, section 3
    "jsonl": "application/jsonl; charset=utf-8",
}

# What Windows takes in no name of a file, and the percent sign, which some browsers decode (RFC 6266, appendix D).
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*%]')
_NAME_CHARACTERS_MAX = 50  # chosen: with four bytes a character and the date still below the 255 bytes of file systems


def file_name(list_name: str, asked_at: datetime, file_format: Format) -> str:
    """Return what the file is called: the list and the day it was asked for (UTC), `Newsletter-2026-11-25.csv`."""
    # Categories C and Zl, Zp: control and format characters, such as those that turn the direction of writing.
    shown = (" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", list_name))
    words = _NOT_IN_NAMES.sub(" ", "".join(shown)).split()
    name = " ".join(words)[:_NAME_CHARACTERS_MAX].strip(" .") or "contacts"
    return f"{name}-{asked_at:%Y-%m-%d}.{file_format}"


def content_disposition(name: str) -> str:
    """Return the header that names a file (RFC 6266): in ASCII, and where that is not all, in UTF-8 too (RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = _NOT_IN_NAMES.sub("", plain).strip(" .")
    if plain.startswith("-"):
        plain = f"contacts{plain}"
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"


def write_file(file_format: Format, contacts: Sequence[Contact]) -> bytes:
    """Return the file, UTF-8: one contact a line, in the given order. CSV begins with a byte order mark.

    Without the mark spreadsheets read the bytes in the computer's own code page.
    """
    match file_format:
        case "csv":
            return _csv(contacts)
        case "jsonl":
            return _json_lines(contacts)


def cell(text: str) -> str:
    """Return the text as a cell: what would be a formula gets an apostrophe, which makes it text (OWASP).

    Signed numbers and phone numbers stay as they are.
    """
    first, *rest = (_part(part) for part in _SEPARATORS.split(text))
    # A separator at the start is what OWASP names: tab and line ends.
    start = "'" if not first and rest and rest[0] != ";" else ""
    return start + first + "".join(rest)


def _part(text: str) -> str:
    if not text.startswith(_FORMULA_SIGNS) or _NO_FORMULA.fullmatch(text):
        return text
    return f"'{text}"


def _csv(contacts: Sequence[Contact]) -> bytes:
    more = sorted({name for contact in contacts for name in contact.attributes})
    written = io.StringIO(newline="")
    # RFC 4180: CRLF; every cell quoted, so that no cell ends early and begins a second one.
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([cell(name) for name in ("contact_id", "email", "name", *more)])
    for contact in contacts:
        rest = (contact.attributes.get(name, "") for name in more)
        writer.writerow([cell(text) for text in (str(contact.contact_id), contact.email, contact.name, *rest)])
    return written.getvalue().encode("utf-8-sig")


def _json_lines(contacts: Sequence[Contact]) -> bytes:
    lines = (
        {
            **contact.attributes,
            "contact_id": str(contact.contact_id),
            "email": contact.email,
            "name": contact.name,
        }
        for contact in contacts
    )
    text = "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
    return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
