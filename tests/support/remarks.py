"""Which problem a page tells, by its key in the words: what a form led to comes with the page after a redirect."""

from __future__ import annotations

import html
import re

from services.gateway import words

_ALERT = re.compile(r'role="alert">([^<]+)<')
_PROBLEMS = ("login.error.", "code.error.", "contacts.too_", "phone.bad_", "problem.")
_ENGLISH = words.load()["en"]
_KEYS = {
    key: re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(_ENGLISH._flat[key])))  # noqa: SLF001 - the file is looked at
    for key in sorted(_ENGLISH.names())
    if key.startswith(_PROBLEMS)
}


def alert_of(page: str) -> str:
    """Return what a page complains of, in words."""
    found = _ALERT.search(page)
    return html.unescape(found[1]) if found else ""


def problem_of(page: str) -> str:
    """Return the last part of the problem's key, such as `wrong` of login.error.wrong; empty if there is none."""
    alert = alert_of(page)
    if not alert:
        return ""
    key = next(key for key, pattern in _KEYS.items() if pattern.fullmatch(alert))
    return key.removesuffix(".one").removesuffix(".other").rpartition(".")[2]
