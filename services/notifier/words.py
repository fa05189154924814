"""The words of texts, one file a language, read once at start-up and refused there if a text could not fit."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints

from countersign.contract.values import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

_Template = Annotated[str, StringConstraints(min_length=1, max_length=90)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActionWords(_Part):
    """`head`: the brand, the code and what it is for. `what` is there where a summary's `what` has something to say.

    `with_place`: the address that asks helps to judge whether the act is one's own.
    """

    head: Annotated[_Template, StringConstraints(pattern=r"^\{brand\}: \{code\} ")]
    what: _Template | None = None
    with_place: bool = False


class Words(_Part):
    """One language."""

    expires: _Template
    expires_soon: _Template
    never: _Template
    row: _Template
    rows: _Template
    format: _Template
    place: _Template
    login: ActionWords
    export: ActionWords
    confirm_number: ActionWords
    change_number: ActionWords
    manage_member: ActionWords
    manager_act: ActionWords

    def of(self, action: Action) -> ActionWords:
        """Return the words of an action."""
        words: ActionWords = getattr(self, action)
        return words


ACTIONS: tuple[Action, ...] = get_args(Action)


def load() -> dict[str, Words]:
    """Return the words by language (`en`, `de`)."""
    return {
        entry.name.removesuffix(".toml"): Words.model_validate(tomllib.loads(entry.read_text(encoding="utf-8")))
        for entry in (files("services.notifier") / "words").iterdir()
        if entry.name.endswith(".toml")
    }


def choose(languages: Mapping[str, Words], locale: str | None, default: str) -> Words:
    """Return the words of the locale's language (`de` of `de-AT`), or else of the default."""
    language = (locale or default).split("-")[0].lower()
    return languages.get(language) or languages[default]
