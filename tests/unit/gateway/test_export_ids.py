"""Ids in the addresses of pages: one spelling, so that nothing else gets into a redirect."""

from __future__ import annotations

from uuid import UUID

import pytest
from aiohttp import web

from services.gateway.pages.contacts import id_in

ID = "0b5a6e0c-0f4d-4a3b-8f3e-2d1c0b9a8f7e"


def test_an_id_is_taken_as_our_pages_write_it() -> None:
    """And as nothing else is written."""
    assert id_in(ID) == UUID(ID)


@pytest.mark.parametrize(
    "text",
    [
        "\r\n" + "0" * 30,
        "0" * 30 + "\r\n",
        ID + "\n",
        "{" + ID + "}",
        "urn:uuid:" + ID,
        ID.replace("-", ""),
        ID.upper(),
        "0_" * 15 + "00",
        "\u0660" * 32,
        "",
        "x",
    ],
)
def test_other_spellings_of_an_id_are_no_page(text: str) -> None:
    """`UUID` takes most of them; a line end in a Location header is refused by the server as a bug of ours."""
    with pytest.raises(web.HTTPNotFound):
        id_in(text)
