"""Phone numbers as people write them: what each is read as, or the reason that it is refused for."""

from __future__ import annotations

from typing import get_args

import pytest

from countersign.contract.number import NumberRefusedError, PhoneNumber, Refusal, parse_number

# What was entered, the region of the account, the number, its country.
READ: tuple[tuple[str, str | None, str, str], ...] = (
    ("+881 6 1234 5678", None, "+881612345678", "001"),
    ("11 15-2345-6789", "AR", "+5491123456789", "AR"),
    ("+54 11 15-2345-6789", None, "+5491123456789", "AR"),
    ("+54 9 11 2345-6789", None, "+5491123456789", "AR"),
    ("011 15 2345 6789", "AR", "+5491123456789", "AR"),
    ("+54 011 15 2345 6789", None, "+5491123456789", "AR"),
    ("+54 9 11 15 2345 6789", None, "+5491123456789", "AR"),
    ("9 11 2345-6789", "AR", "+5491123456789", "AR"),
    ("+54 (9) 351 15 678 9012", None, "+5493516789012", "AR"),
    ("0351 15 678 9012", "AR", "+5493516789012", "AR"),
    ("0664 1234567", "AT", "+436641234567", "AT"),
    ("+43 (0)664 123 45 67", None, "+436641234567", "AT"),
    ("+61 (04)12 345 678", None, "+61412345678", "AU"),
    ("+61 0412 345 678", None, "+61412345678", "AU"),
    ("0470 12 34 56", "BE", "+32470123456", "BE"),
    ("+32 (0)470 12 34 56", None, "+32470123456", "BE"),
    ("+55 (0)11 91234-5678", None, "+5511912345678", "BR"),
    ("0 15 11 91234-5678", "BR", "+5511912345678", "BR"),
    ("+375 8 029 123 45 67", None, "+375291234567", "BY"),
    ("416-555-0123", "CA", "+14165550123", "CA"),
    ("+41 (0)79 123 45 67", None, "+41791234567", "CH"),
    ("079 123 45 67", "CH", "+41791234567", "CH"),
    ("+225 07 12 34 56 78", None, "+2250712345678", "CI"),
    ("+56 9 8765 4321", None, "+56987654321", "CL"),
    ("9 8765 4321", "CL", "+56987654321", "CL"),
    ("+86 138 0013 8000", None, "+8613800138000", "CN"),
    ("138 0013 8000", "CN", "+8613800138000", "CN"),
    ("+57 300 123 4567", None, "+573001234567", "CO"),
    ("0049 151 23456789", "DE", "+4915123456789", "DE"),
    ("0049 151 23456789", None, "+4915123456789", "DE"),
    ("+49 (0) 151 / 234 567 89", None, "+4915123456789", "DE"),
    ("8 10 49 151 23456789", "RU", "+4915123456789", "DE"),
    ("+49 0151-23456789", None, "+4915123456789", "DE"),
    ("004915123456789", "SG", "+4915123456789", "DE"),
    ("20 12 34 56", "DK", "+4520123456", "DK"),
    ("+45 20 12 34 56", None, "+4520123456", "DK"),
    ("1-809-555-1234", "DO", "+18095551234", "DO"),
    ("+20 010 1234 5678", None, "+201012345678", "EG"),
    ("+34 612 345 678", None, "+34612345678", "ES"),
    ("+358 040 1234567", None, "+358401234567", "FI"),
    ("040 123 4567", "FI", "+358401234567", "FI"),
    ("+33 (0)6 12 34 56 78", None, "+33612345678", "FR"),
    ("0011 44 7400 123456", "AU", "+447400123456", "GB"),
    ("0044 7400 123456", "AU", "+447400123456", "GB"),
    ("0044 7400 123456", "US", "+447400123456", "GB"),
    ("+44 (0)7400 123456", None, "+447400123456", "GB"),
    ("++44 7400 123456", None, "+447400123456", "GB"),
    ("+0044 7400 123456", None, "+447400123456", "GB"),
    ("+ 44 7400 123456", None, "+447400123456", "GB"),
    ("44 7400 123456", "GB", "+447400123456", "GB"),
    ("7400 123456", "GB", "+447400123456", "GB"),
    ("07400/123456", "GB", "+447400123456", "GB"),
    ("011 44 7400 123456", "US", "+447400123456", "GB"),
    ("0044 (0)7400 123456", "FR", "+447400123456", "GB"),
    ("(00)44 7400 123456", "US", "+447400123456", "GB"),
    ("00 44 7400 123456", None, "+447400123456", "GB"),
    ("+00 44 7400 123456", None, "+447400123456", "GB"),
    ("+36 06 20 123 4567", None, "+36201234567", "HU"),
    ("06 20 123 4567", "HU", "+36201234567", "HU"),
    ("+62 0812-3456-7890", None, "+6281234567890", "ID"),
    ("0812 3456 7890", "ID", "+6281234567890", "ID"),
    ("+353 (0)87 123 4567", None, "+353871234567", "IE"),
    ("087 123 4567", "IE", "+353871234567", "IE"),
    ("+91 098765 43210", None, "+919876543210", "IN"),
    ("+39 0347 1234567", None, "+393471234567", "IT"),
    ("+39 347 123 4567", None, "+393471234567", "IT"),
    ("347 123 4567", "IT", "+393471234567", "IT"),
    ("0039 347 1234567", "IT", "+393471234567", "IT"),
    ("+1 876 555 1234", None, "+18765551234", "JM"),
    ("+81 (0)90-1234-5678", None, "+819012345678", "JP"),
    ("+82 (0)10-1234-5678", None, "+821012345678", "KR"),
    ("8 701 234 5678", "KZ", "+77012345678", "KZ"),
    ("+7 (8) 701 234 5678", None, "+77012345678", "KZ"),
    ("+370 8 612 34567", None, "+37061234567", "LT"),
    ("8 612 34567", "LT", "+37061234567", "LT"),
    ("+352 621 123 456", None, "+352621123456", "LU"),
    ("621 123 456", "LU", "+352621123456", "LU"),
    ("+52 1 55 1234 5678", None, "+525512345678", "MX"),
    ("+52 55 1234 5678", None, "+525512345678", "MX"),
    ("+234 0803 123 4567", None, "+2348031234567", "NG"),
    ("06-12345678", "NL", "+31612345678", "NL"),
    ("+31 (0)6 12345678", None, "+31612345678", "NL"),
    ("+47 912 34 567", None, "+4791234567", "NO"),
    ("021 123 4567", "NZ", "+64211234567", "NZ"),
    ("+64 (0)21 123 4567", None, "+64211234567", "NZ"),
    ("+48 512 345 678", None, "+48512345678", "PL"),
    ("+351 912 345 678", None, "+351912345678", "PT"),
    ("912 345 678", "PT", "+351912345678", "PT"),
    ("8 (912) 345-67-89", "RU", "+79123456789", "RU"),
    ("+7 8 912 345 67 89", None, "+79123456789", "RU"),
    ("070-174 06 05", "SE", "+46701740605", "SE"),
    ("+65 8123 4567", None, "+6581234567", "SG"),
    ("+90 0532 123 45 67", None, "+905321234567", "TR"),
    ("+380 (0)50 123 4567", None, "+380501234567", "UA"),
    ("+1 415 555 2671", None, "+14155552671", "US"),
    ("(415) 555-2671", "US", "+14155552671", "US"),
    ("1-415-555-2671", "US", "+14155552671", "US"),
    ("+1 0415 555 2671", None, "+14155552671", "US"),
    ("+1 (0) 415 555 2671", None, "+14155552671", "US"),
    ("+598 94 231 234", None, "+59894231234", "UY"),
    ("+27 (0)82 123 4567", None, "+27821234567", "ZA"),
)
# What was entered, the region of the account, the reason.
REFUSED: tuple[tuple[str, str | None, Refusal], ...] = (
    ("", None, "empty"),
    ("call me", "GB", "unreadable"),
    ("+44 7400 123456 ext. 3", None, "unreadable"),
    ("+49 151 23456789 / +49 151 23456780", None, "unreadable"),
    ("+44 55 1234 5678", None, "not_mobile"),
    ("8 (912) 345-67-89", None, "country_missing"),
    ("+8 912 345 67 89", None, "country_unknown"),
    ("+39 06 12345678", None, "landline"),
    ("+54 11 2345-6789", None, "landline"),
    ("044 55 1234 5678", "MX", "too_long"),
    ("44 7400 123456", None, "country_missing"),
    ("tel:+447400123456", None, "unreadable"),
    ("+44 800 123 4567", None, "toll_free"),
    ("0900 1234567", "DE", "premium"),
    ("+44 56 1234 5678", None, "voip"),
    ("911", "US", "too_short"),
    ("110", "DE", "too_short"),
    ("+1 900 555 1234", None, "premium"),
    ("+1 202 555 01", None, "too_short"),
    ("+1 800 555 0199", None, "toll_free"),
    ("+44 70 1234 5678", None, "personal"),
    ("+44 76 1234 5678", None, "unassigned"),
    ("+49 700 12345678", None, "personal"),
    ("+800 1234 5678", None, "toll_free"),
    ("+882 16 12345678", None, "voip"),
    ("+44 7400 12345", None, "too_short"),
    ("+44 7400 1234567", None, "too_long"),
    ("1800 123 456", "AU", "toll_free"),
    ("+49 30 123456", None, "landline"),
    ("+49 151 2345", None, "too_short"),
    ("+34 912 345 678", None, "landline"),
    ("15 2345-6789", "AR", "unassigned"),
    ("+999 491 570 006", None, "country_unknown"),
    ("555 2671", "US", "too_short"),
    ("+31 85 123 4567", None, "voip"),
    ("1300 123 456", "AU", "shared_cost"),
    ("+49 180 1234567", None, "shared_cost"),
    ("+49 32 12345678", None, "unassigned"),
    ("+33 9 70 12 34 56", None, "voip"),
    ("+33 8 99 12 34 56", None, "premium"),
    ("0899 123 456", "FR", "premium"),
    ("199 123456", "IT", "personal"),
    ("+61 491 570", None, "too_short"),
    ("+49 1511", None, "too_short"),
    ("+44 7700 900123", None, "unassigned"),
    ("09 12 345 678", "FI", "landline"),
)


@pytest.mark.parametrize(("entered", "region", "e164", "country"), READ)
def test_a_number_is_read_as_people_write_it(entered: str, region: str | None, e164: str, country: str) -> None:
    """With 00, trunk prefixes, brackets and slashes, from inside the country and from outside."""
    assert parse_number(entered, region) == PhoneNumber(e164, country)


@pytest.mark.parametrize(("entered", "region", "reason"), REFUSED)
def test_what_no_text_reaches_is_refused_for_its_own_reason(entered: str, region: str | None, reason: Refusal) -> None:
    """The words are for the person who entered it: a sentence, and none of its digits."""
    with pytest.raises(NumberRefusedError) as refused:
        parse_number(entered, region)
    assert refused.value.reason == reason
    assert refused.value.words.endswith(".")
    assert not any(len(part) > 2 and part in refused.value.words for part in entered.split())


def test_the_table_is_wide_enough() -> None:
    """At least 80 inputs in 20 countries, and each reason at least once, in words of its own."""
    assert len(READ) + len(REFUSED) >= 80
    assert len({country for *_, country in READ}) >= 20
    reasons = {reason for *_, reason in REFUSED}
    assert reasons == set(get_args(Refusal))
    assert len({NumberRefusedError(reason).words for reason in reasons}) == len(reasons)


@pytest.mark.parametrize("entered", [entered for entered, *_ in READ])
def test_reading_what_was_read_changes_nothing(entered: str) -> None:
    """A number in E.164 is read as itself, whatever the region of the account."""
    region = next(region for text, region, *_ in READ if text == entered)
    number = parse_number(entered, region)
    for elsewhere in ("US", "AR", "IT", "RU", "SG", None):
        assert parse_number(number.e164, elsewhere) == number
