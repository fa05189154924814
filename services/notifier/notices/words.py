"""What a notice says: what happened, and whom to ask if it was not the reader. Never a code, never a link."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from services.notifier.gsm7 import PART_SEPTETS_MAX, septets
from services.notifier.model import SmsText

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.notifier.notices.model import Kind, Reader

_Template = Annotated[str, StringConstraints(min_length=1, max_length=110)]
_OfWhat = Annotated[_Template, StringConstraints(pattern=r"^\{brand\}: ")]


class NoticeWords(BaseModel):
    """One language. `from_place` stands for `{place}` where the address is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    not_you: _Template
    not_you_staff: _Template
    from_place: _Template
    number_replaced: _OfWhat
    number_reset: _OfWhat
    two_factor_enabled: _OfWhat
    two_factor_disabled: _OfWhat
    login: _OfWhat
    code_exhausted: _OfWhat

    def of(self, kind: Kind) -> str:
        """Return the words for what happened."""
        words: str = getattr(self, kind.replace(".", "_"))
        return words


def load() -> dict[str, NoticeWords]:
    """Return the words by language (`en`, `de`)."""
    return {
        entry.name.removesuffix(".toml"): NoticeWords.model_validate(tomllib.loads(entry.read_text(encoding="utf-8")))
        for entry in (files("services.notifier.notices") / "words").iterdir()
        if entry.name.endswith(".toml")
    }


def notice(
    languages: Mapping[str, NoticeWords], default: str, kind: Kind, *, brand: str, reader: Reader, ip: str | None
) -> SmsText:
    """Return the text, in the reader's language or else the default one. One part: the address is what is cut."""
    language = (reader.locale or default).split("-")[0].lower()
    words = languages.get(language) or languages[default]
    end = words.not_you_staff if reader.role == "account_manager" else words.not_you
    told = ""
    for place in (words.from_place.format(ip=ip) if ip else "", ""):
        told = f"{words.of(kind).format(brand=brand, place=place)} {end}"
        if septets(told) <= PART_SEPTETS_MAX:
            break
    return SmsText(told)
