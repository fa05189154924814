"""What a text says: the brand, the code and what it is for, what is approved, and the site it is good on.

Always one part of GSM-7. What is cut first is `what`; brand, code, action and last line never are. Names that people
chose are quoted without the characters that make a link or a line like our last one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from services.notifier.gsm7 import PART_SEPTETS_MAX, cut, septets, transliterate
from services.notifier.model import SmsText

if TYPE_CHECKING:
    from countersign.contract import Action, Client, Summary
    from services.notifier.model import Code
    from services.notifier.words import Words

HOST_CHARACTERS_MAX = 60  # with both, code, action and last line fit one part in every language: a test tries all
BRAND_CHARACTERS_MAX = 20
_ON_ITS_WAY = timedelta(seconds=10)  # chosen: a text that leaves 8 s after its code was drawn still says "5 minutes"
_DOTS = ".."
_WHAT_SEPTETS_MIN = 4  # fewer tell nothing
# Without them a phone makes no link of a name (`evil.example/u`), and fills in no code from it (`@evil.example #1`).
_LINK_CHARACTERS = str.maketrans(dict.fromkeys("./:@#", " "))


def compose(  # noqa: PLR0913 - what a text is made of
    words: Words,
    action: Action,
    code: Code,
    *,
    summary: Summary,
    client: Client,
    life: timedelta,
    brand: str,
    host: str,
) -> SmsText:
    """Return the text of a challenge; `life` is how long its code is still good.

    The last line is the origin-bound form (WICG, origin-bound one-time codes): a phone fills the code in only there.
    """
    head = words.of(action).head.format(brand=brand, code=code.digits)
    last = f"@{host} #{code.digits}"
    room = PART_SEPTETS_MAX - septets(f"{head}.\n{last}")
    details = _details(words, summary, client if words.of(action).with_place else None)
    for least in ("format", "rows", "place"):
        if septets("".join(details.values())) > room:
            details.pop(least, None)
    room -= septets("".join(details.values()))
    template, told = words.of(action).what, summary.what
    what, whole = _what(template, told, room) if template and told else ("", True)
    end = _end(words, life, room - septets(what)) if whole else ""
    return SmsText(f"{head}{what}{''.join(details.values())}.{end}\n{last}")


def _end(words: Words, life: timedelta, room: int) -> str:
    """Return the closing sentences that fit: how long the code is good, and the warning, which comes before it."""
    minutes = max(1, (life + _ON_ITS_WAY) // timedelta(minutes=1))
    expires = words.expires_soon if minutes == 1 else words.expires.format(minutes=minutes)
    return next((end for end in (expires + words.never, words.never) if septets(end) <= room), "")


def _details(words: Words, summary: Summary, client: Client | None) -> dict[str, str]:
    """Return what is told besides `what`, in the order of the sentence."""
    details = {}
    if summary.rows is not None:
        details["rows"] = words.row if summary.rows == 1 else words.rows.format(rows=summary.rows)
    if summary.format and quoted(summary.format):
        details["format"] = words.format.format(format=quoted(summary.format))
    if client is not None and client.ip is not None:
        details["place"] = words.place.format(place=client.ip)
    return details


def quoted(name: str) -> str:
    """Return a name as a text may show it: in the alphabet, on one line, with nothing that a phone acts on.

    Cleaned after it was transliterated, as many characters become a full stop, a slash or an at sign only then.
    """
    return " ".join(transliterate(name).translate(_LINK_CHARACTERS).replace('"', "'").split())


def _what(template: str, told: str, room: int) -> tuple[str, bool]:
    """Return the words for `what` within `room` septets, and whether all of it is there."""
    plain = quoted(told)
    if not plain:
        return "", True
    room -= septets(template.format(what=""))
    if septets(plain) <= room:
        return template.format(what=plain), True
    short = cut(plain, max(0, room - len(_DOTS))).rstrip()
    if septets(short) < _WHAT_SEPTETS_MIN:
        return "", False
    return template.format(what=short + _DOTS), False
