"""What people type into a field of one line, cleaned by what Unicode says of each character.

Each function is pure and linear in the length of its text; the caller bounds that length first.
"""

from __future__ import annotations

import unicodedata

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt) outside the categories Cf and Cc: characters that
# are drawn as nothing, such as joiners, fillers and the variation selectors that make an emoji of a digit.
_IGNORABLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
_MINUS = "\u2212"  # a dash to everybody, but of the category Sm


def visible(text: str) -> str:
    """Return the text without what nobody sees: format characters (Cf), controls (Cc), ignorable characters.

    Each white space, line ends among them, becomes one plain space; spaces at both ends are dropped.
    """
    return "".join(" " if character.isspace() else character for character in text if not _is_unseen(character)).strip()


def plain_digits(text: str) -> str:
    """Return the text with each decimal digit of any script (Nd) in ASCII, and each dash (Pd, U+2212) as a hyphen."""
    return "".join(_plain(character) for character in text)


def code_of(text: str) -> str:
    """Return a code as it was sent: ASCII digits, and no white space, dashes or unseen characters."""
    return plain_digits(visible(text)).replace(" ", "").replace("-", "")


def email_of(text: str) -> str:
    """Return an e-mail address as it is kept and compared: NFKC, case folded, no white space or unseen characters."""
    compatible = unicodedata.normalize("NFKC", text)
    shown = visible(compatible).replace(" ", "").casefold()
    return unicodedata.normalize("NFKC", shown)  # folding can undo it: "\u1e9b\u0323" is such a text


def password_of(text: str) -> str:
    """Return a password as it is hashed: NFKC (NIST SP 800-63B-4, 3.1.1.2), and nothing dropped."""
    return unicodedata.normalize("NFKC", text)


def _is_unseen(character: str) -> bool:
    if character.isascii():
        return not character.isprintable() and not character.isspace()
    if character.isspace():
        return False
    point = ord(character)
    return unicodedata.category(character) in {"Cf", "Cc"} or any(low <= point <= high for low, high in _IGNORABLE)


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if character == _MINUS or unicodedata.category(character) == "Pd":
        return "-"
    digit = unicodedata.decimal(character, None)  # given for the category Nd alone
    return character if digit is None else str(digit)
