"""Files of contacts: CSV whose cells no spreadsheet runs, and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.exports.model import Contact, Format

# OWASP, CSV Injection: cells that begin so are formulas to a spreadsheet; the last four are the full-width forms.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Where numbers have a decimal comma, spreadsheets part cells at semicolons, tabs and line ends, quoted or not.
_INNER_FORMULA = re.compile("(?<=[;\t\r\n])(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])")
CONTENT_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8; header=present",  # RFC 4180, section 3
    "jsonl": "application/jsonl; charset=utf-8",
}


def write_file(file_format: Format, contacts: Sequence[Contact]) -> bytes:
    """Return the file, UTF-8: one contact a line, in the given order."""
    match file_format:
        case "csv":
            return _csv(contacts)
        case "jsonl":
            return _json_lines(contacts)


def cell(text: str) -> str:
    """Return the text as a cell: what would be a formula gets an apostrophe, which makes it text (OWASP)."""
    safe = _INNER_FORMULA.sub("'", text)
    return f"'{safe}" if safe.startswith(FORMULA_STARTS) else safe


def _csv(contacts: Sequence[Contact]) -> bytes:
    more = sorted({name for contact in contacts for name in contact.attributes})
    written = io.StringIO(newline="")
    # RFC 4180: CRLF; every cell quoted, so that no cell ends early and begins a second one.
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([cell(name) for name in ("contact_id", "email", "name", *more)])
    for contact in contacts:
        rest = (contact.attributes.get(name, "") for name in more)
        writer.writerow([cell(text) for text in (str(contact.contact_id), contact.email, contact.name, *rest)])
    return written.getvalue().encode()


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
    return "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines).encode()
