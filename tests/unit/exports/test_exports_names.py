"""What an exported file is called."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exports.files import content_disposition, file_name

ASKED_AT = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("list_name", "name", "header"),
    [
        ("Newsletter", "Newsletter-2026-11-25.csv", 'attachment; filename="Newsletter-2026-11-25.csv"'),
        (
            "Käufer",
            "Käufer-2026-11-25.csv",
            "attachment; filename=\"Kaufer-2026-11-25.csv\"; filename*=UTF-8''K%C3%A4ufer-2026-11-25.csv",
        ),
        (
            "顧客",
            "顧客-2026-11-25.csv",
            "attachment; filename=\"contacts-2026-11-25.csv\"; filename*=UTF-8''%E9%A1%A7%E5%AE%A2-2026-11-25.csv",
        ),
        (
            "Conference guests",
            "Conference guests-2026-11-25.csv",
            'attachment; filename="Conference guests-2026-11-25.csv"',
        ),
        ('A/B: "x" \\ 100% ?', "A B x 100-2026-11-25.csv", 'attachment; filename="A B x 100-2026-11-25.csv"'),
        ("../../.bashrc", "bashrc-2026-11-25.csv", 'attachment; filename="bashrc-2026-11-25.csv"'),
        ("fdp\u202egnp.exe", "fdp gnp.exe-2026-11-25.csv", 'attachment; filename="fdp gnp.exe-2026-11-25.csv"'),
        (" . ", "contacts-2026-11-25.csv", 'attachment; filename="contacts-2026-11-25.csv"'),
    ],
)
def test_a_file_is_called_after_its_list_and_day(list_name: str, name: str, header: str) -> None:
    """Cleaned of what no file system takes and of what hides an ending."""
    assert file_name(list_name, ASKED_AT, "csv") == name
    assert content_disposition(name) == header


@given(st.text(max_size=200), st.sampled_from(["csv", "jsonl"]))
def test_any_name_is_a_name_and_a_header(list_name: str, file_format: str) -> None:
    """Property: one path element below 255 bytes, and a header of one line in ASCII that says the same."""
    name = file_name(list_name, ASKED_AT, file_format)  # type: ignore[arg-type] # a test names it
    assert name.endswith(f"-2026-11-25.{file_format}")
    assert len(name.encode()) <= 255
    assert not set(name) & set('/\\<>:"|?*%\r\n\x00')
    assert not name.startswith((".", " "))
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    found = re.fullmatch(r'attachment; filename="([^"%/\\]+)"(?:; filename\*=UTF-8\'\'([!#$&+.^_`|~\w%-]+))?', header)
    assert found is not None
    assert unquote(found[2] or found[1]) == name
